from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import app.training
from app.errors import BadParameter
from app.networks.clutnet import ClutNet
from app.networks.store import read_store
from app.training.ablation import (
    AblationConfig,
    Variant,
    compress,
    count_cost,
    multiply_adds,
)
from app.training.ablation_report import Results, compare
from app.training.augment import DegradeConfig
from app.training.config import NetworkConfig, ScheduleConfig, new_network, read_config
from app.training.data import PhotosConfig
from app.training.dataset import MixtureConfig
from app.training.distil import DistilConfig
from app.training.ensemble import TeachersConfig
from tests.training.conftest import make_pairs, make_small_photos, write_teacher

RECIPE = Path(app.training.__file__).parent / "recipes" / "compare.toml"


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> AblationConfig:
    """Describe a comparison that has yet to be made."""
    return describe(photos, tmp_path)


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory) -> tuple[AblationConfig, Results]:
    """Make a comparison once; return it with its results."""
    config = describe(photos, tmp_path_factory.mktemp("finished"))
    return config, compare(config)


def describe(photos: Path, folder: Path) -> AblationConfig:
    """Describe a CLUT, plain LUTs, these after PCA, and matrices that are fixed; D = 5."""
    teacher = write_teacher(folder / "teachers")
    small_photos = make_small_photos(photos, folder / "small")
    return AblationConfig(
        distil=DistilConfig(
            name="clut",
            licence="CC0-1.0",
            run=folder / "run",
            store=folder / "store",
            network=NetworkConfig(n=2, s=2, w=3, d=5),
            thumbnail=teacher.card.thumbnail,
            batch=2,
            colours=32,
            schedule=ScheduleConfig(steps=6, rate=0.01, report=3),
            teachers=TeachersConfig(store=folder / "teachers", models={"bright": 1.0}),
            photos=PhotosConfig(folder=small_photos, held_out=3),
            mixture=MixtureConfig(taught=DegradeConfig(exposure=(-2, 0)), taught_size=64, cached=3),
        ),
        variants={
            "plain": Variant(n=2, d=5),
            "pca": Variant(n=2, s=2, w=3, d=5, pca_of="plain"),
            "fixed": Variant(n=2, s=2, w=3, d=5, fixed_matrices=True),
        },
        pairs=make_pairs(small_photos, folder / "pairs"),
        report=folder / "docs" / "it.md",
    )


@pytest.fixture
def alone(config) -> AblationConfig:
    """Describe the CLUT alone."""
    return config.model_copy(update={"variants": {}})


def prose(config: AblationConfig) -> str:
    """Read the report without its line breaks."""
    return " ".join(config.report.read_text().split())


def test_each_network_has_its_row(finished):
    """Given four networks, each is in the table with its exact counts, and in the plot."""
    config, results = finished

    assert list(results) == ["clut", "plain", "pca", "fixed"]
    table = config.report.read_text()
    assert "| plain | 02+--+-- | 5 | 750 |" in table
    matrices = 2 * 5 + 3 * 5**2
    assert f"| clut | 02+02+03 | 5 | {36 + matrices} |" in table
    assert "| pca (PCA of plain) | 02+02+03 | 5 | 121 |" in table
    assert "| fixed (fixed matrices) | 02+02+03 | 5 | 36 |" in table
    assert "trained for 6 steps of 2 photographs" in prose(config)
    with Image.open(config.report.with_suffix(".png")) as plot:
        assert plot.size == (1440, 600)


@pytest.mark.slow
def test_seeds_are_compared_by_mean_and_spread(config):
    """Given two seeds, and one for a network, the report has their mean, spread and curves."""
    variants = {"plain": Variant(n=2, d=5, seeds=1), "fixed": config.variants["fixed"]}
    config = config.model_copy(update={"variants": variants, "seeds": 2})

    results = compare(config)

    assert config.runs == [("clut", 0), ("fixed", 0), ("clut", 1), ("fixed", 1), ("plain", 0)]
    assert {name: len(it) for name, it in results.items()} == {"clut": 2, "fixed": 2, "plain": 1}
    first, second = (result.to_teachers for result in results["clut"])
    assert first != second
    report = config.report.read_text().splitlines()
    lines = {line.split(" ")[1]: line for line in report if line.startswith("| ")}
    mean = (first + second) / 2
    assert f"| 2 | {mean:.2f} ± {abs(first - second) / 2**0.5:.2f} |" in lines["clut"]
    assert f"| 1 | {results['plain'][0].to_teachers:.2f} |" in lines["plain"]


def test_more_steps_continue_the_runs(alone):
    """Given a finished comparison and twice the steps, the first half is not trained again."""
    before = compare(alone)["clut"][0].metrics
    schedule = alone.distil.schedule.model_copy(update={"steps": 12})
    longer = alone.model_copy(
        update={"distil": alone.distil.model_copy(update={"schedule": schedule})}
    )

    after = compare(longer)["clut"][0].metrics

    assert [line["step"] for line in after] == [3, 6, 9, 12]
    assert after[:2] == before


def test_what_is_finished_is_not_made_again(finished):
    """Given a finished comparison, it stays as it is and needs no photos any more."""
    config, results = finished

    again = compare(config.with_data(photos=config.pairs / "nowhere"))

    assert again == results
    assert len(read_store(config.distil.store)) == 4


def test_the_remarks_of_an_earlier_report_stay(alone):
    """Given a report with remarks, they are below the new one too."""
    alone.report.parent.mkdir()
    alone.report.write_text("# Old\n\n## Remarks\n\nThey agree.\n")

    compare(alone)

    report = alone.report.read_text()
    assert report.endswith("\n## Remarks\n\nThey agree.\n")
    assert "# Old" not in report


def test_the_report_says_how_long_training_took(alone):
    """Given a run of 12 photos at 0.1 a second, the report states 2 minutes."""
    compare(alone)
    metrics = alone.distil.run / "clut-seed0" / "metrics.csv"
    metrics.write_text("step,psnr_taught,photos_per_second\n3,20,0.1\n6,20,0.1\n")

    compare(alone)

    assert "took 2 minutes" in prose(alone)


def test_what_is_not_finished_is_left_out_by_name(config):
    """Given a comparison that ends at its third network, the report has two and names the rest."""
    variants = config.variants | {"pca": Variant(n=2, s=2, w=3, d=5, pca_of="fixed")}

    with pytest.raises(BadParameter, match="pca-seed0: PCA makes S and W"):
        compare(config.model_copy(update={"variants": variants}))

    assert "Not finished: pca (seed 0), fixed (seed 0)." in prose(config)


def test_a_coarser_lattice_bends_as_cheaply(config):
    """Given half as many cells, the same curve has second differences four times as large."""
    coarse = config.model_copy(update={"variants": {"coarse": Variant(n=2, d=3)}})

    weight = coarse.recipe("coarse", 0).losses.curvature

    assert weight == coarse.recipe("clut", 0).losses.curvature / 16


def test_the_papers_comparison_has_a_recipe():
    """Given the recipe, it has the ten networks of the paper's comparison, the first 20+05+20."""
    networks = read_config(RECIPE, AblationConfig).networks

    assert sorted(it.shape for it in networks.values()) == sorted(
        ["20+05+20"] * 3
        + ["20+05+10", "20+05+--", "20+--+20", "03+--+--", "10+--+--", "20+--+--", "20+--+--"]
    )
    assert next(iter(networks)) == "clut-20-05-20"


def test_the_data_may_lie_elsewhere():
    """Given other folders, the recipe's are replaced; the inventory lies with the photos."""
    there = read_config(RECIPE, AblationConfig).with_data(Path("p"), Path("t"), Path("q"))

    assert there.distil.photos.folder == Path("p")
    assert there.distil.photos.inventory == Path("p/INVENTORY.tsv")
    assert (there.distil.teachers.store, there.pairs) == (Path("t"), Path("q"))


def test_the_published_counts_of_20_05_20():
    """Given N, S, W, D = 20, 5, 20, 33: 28K LUT parameters, 872K multiply-adds, 292,541 in all."""
    counts = count_cost(Variant(n=20, s=5, w=20))

    assert counts == (27_945, 292_541, 871_755)


def test_the_published_counts_of_20_05_10():
    """Given W = 10, it has 278,651 parameters in all."""
    assert count_cost(Variant(n=20, s=5, w=10)).parameters == 278_651


def test_the_published_counts_of_plain_luts():
    """Given 20 plain LUTs, 2,156K parameters, and as many multiply-adds: 3 N D^3."""
    counts = count_cost(Variant(n=20))

    assert (counts.lut_parameters, counts.multiply_adds) == (2_156_220, 2_156_220)


def test_a_smaller_lattice_with_about_the_parameters_of_20_05_20():
    """Given D, 8 comes nearer to 27,945 parameters than 7 and 9."""
    counts = {d: count_cost(Variant(n=20, d=d)).lut_parameters for d in (7, 8, 9)}

    assert counts == {7: 20_580, 8: 30_720, 9: 43_740}


def test_fixed_matrices_are_multiplied_by_but_not_learned():
    """Given matrices that stay as they are, psi is left: 3 N S W = 6,000."""
    learned = count_cost(Variant(n=20, s=5, w=20))
    counts = count_cost(Variant(n=20, s=5, w=20, fixed_matrices=True))

    assert counts == (6_000, 292_541 - 21_945, learned.multiply_adds)


@pytest.mark.parametrize(
    ("s", "w", "expected"),
    [
        (None, None, 2 * 5**3),
        (3, None, 2 * 3 * 5**2 + 3 * 5**3),
        (None, 4, 2 * 5 * 4 + 5 * 4 * 5**2),
        (3, 4, 2 * 3 * 4 + 3 * 4 * 5**2 + 3 * 5**3),
    ],
)
def test_the_multiply_adds_of_each_form(s, w, expected):
    """Given N = 2 and D = 5, each channel is fused while compressed, then W undone, then S."""
    assert multiply_adds(2, s, w, 5) == 3 * expected


@pytest.fixture
def plain() -> ClutNet:
    """Plain LUTs that matrices of rank 3 and 4 have made."""
    low = new_network(n=6, s=3, w=4, d=5, seed=0)
    torch.nn.init.normal_(low.psi)
    plain = new_network(n=6, s=None, w=None, d=5, seed=0)
    with torch.no_grad():
        rebuilt = torch.einsum("ds,snct,tp->dncp", low.strong, low.psi, low.weak)
        plain.psi.copy_(rebuilt)
    return plain


def test_what_is_of_low_rank_is_compressed_without_loss(plain):
    """Given LUTs of ranks 3 and 4, compressed to 3 and 4 they are the same."""
    smaller = compress(plain, s=3, w=4)

    assert smaller.hparams == {"n": 6, "s": 3, "w": 4, "d": 5}
    assert torch.allclose(smaller.basis(), plain.basis(), atol=1e-5)


def test_the_weights_are_predicted_as_before(plain):
    """Given a thumbnail, the code is the uncompressed network's."""
    thumbnail = torch.rand(1, 3, 64, 64)

    codes = compress(plain, s=1, w=1).encode(thumbnail)

    torch.testing.assert_close(codes, plain.encode(thumbnail), rtol=0, atol=1e-5)


def test_the_lower_the_rank_the_farther_from_the_original(plain):
    """Given ever lower ranks, the compressed LUTs are ever farther from the plain ones."""
    distances = [
        (compress(plain, s, w).basis() - plain.basis()).norm()
        for s, w in ((3, 4), (3, 3), (2, 2), (1, 1))
    ]

    assert distances == sorted(distances)
    assert 0.1 < distances[-1] < plain.basis().norm()
