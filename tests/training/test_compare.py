from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import app.training
from app.errors import BadParameter
from app.networks.store import read_store
from app.training.compare import compare
from app.training.config import NetworkConfig, read_config
from app.training.degrade import DegradeConfig
from app.training.distil import DistilConfig
from app.training.photos import PhotosConfig
from app.training.trainer import ScheduleConfig
from app.training.variants import CompareConfig, Variant

RECIPE = Path(app.training.__file__).parent / "recipes" / "compare.toml"


@pytest.fixture
def config(teacher, small_photos: Path, pairs: Path, tmp_path: Path) -> CompareConfig:
    """A CLUT, plain LUTs, these after PCA, and matrices that are fixed; D = 5."""
    return CompareConfig(
        distil=DistilConfig(
            name="clut",
            licence="CC0-1.0",
            run=tmp_path / "run",
            store=tmp_path / "store",
            network=NetworkConfig(n=2, s=2, w=3, d=5),
            thumbnail=teacher.card.thumbnail,
            batch=2,
            colours=32,
            schedule=ScheduleConfig(steps=6, rate=0.01, report=3),
            teachers={"bright": 1.0},
            teacher_store=tmp_path / "teachers",
            photos=PhotosConfig(folder=small_photos, held_out=2),
            degrade=DegradeConfig(exposure=(-2, 0)),
        ),
        variants={
            "plain": Variant(n=2, d=5),
            "pca": Variant(n=2, s=2, w=3, d=5, pca_of="plain"),
            "fixed": Variant(n=2, s=2, w=3, d=5, fixed_matrices=True),
        },
        pairs=pairs,
        report=tmp_path / "docs" / "it.md",
    )


@pytest.fixture
def alone(config) -> CompareConfig:
    """The CLUT alone."""
    return config.model_copy(update={"variants": {}})


def prose(config: CompareConfig) -> str:
    """The report without its line breaks."""
    return " ".join(config.report.read_text().split())


def test_each_network_has_its_row(config):
    """Given four networks, each is in the table with its exact counts, and in the plot."""
    rows = compare(config)

    assert [row.card.name for row in rows] == ["clut", "plain", "pca", "fixed"]
    matrices = 2 * 5 + 3 * 5**2
    assert [row.cost.lut_parameters for row in rows] == [36 + matrices, 750, 36 + matrices, 36]
    table = config.report.read_text()
    assert "| plain | 02+--+-- | 5 | 750 |" in table
    assert "| pca (PCA of plain) | 02+02+03 | 5 | 121 |" in table
    assert "| fixed (fixed matrices) | 02+02+03 | 5 | 36 |" in table
    assert "trained for 6 steps of 2 photographs" in prose(config)
    with Image.open(config.report.with_suffix(".png")) as plot:
        assert plot.size == (960, 600)


def test_what_is_finished_is_not_made_again(config):
    """Given a finished comparison, it stays as it is and needs no photos any more."""
    rows = compare(config)

    again = compare(config.with_data(photos=config.pairs / "nowhere"))

    assert again == rows
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
    """Given a run of 12 photos at 0.1 a second, the report says 2 minutes."""
    compare(alone)
    metrics = alone.distil.run / "clut" / "metrics.csv"
    metrics.write_text("step,photos_per_second\n3,0.1\n6,0.1\n")

    compare(alone)

    assert "took 2 minutes" in prose(alone)


def test_what_is_not_finished_is_left_out_by_name(config):
    """Given a comparison that ends at its third network, the report has two and names the rest."""
    variants = config.variants | {"pca": Variant(n=2, s=2, w=3, d=5, pca_of="fixed")}

    with pytest.raises(BadParameter, match="pca: PCA makes S and W"):
        compare(config.model_copy(update={"variants": variants}))

    assert "left out: pca, fixed." in prose(config)


def test_a_coarser_lattice_bends_as_cheaply(config):
    """Given half as many cells, the same curve has second differences four times as large."""
    coarse = config.model_copy(update={"variants": {"coarse": Variant(n=2, d=3)}})

    weight = coarse.recipe("coarse").losses.bending

    assert weight == coarse.recipe("clut").losses.bending / 16


def test_the_papers_comparison_has_a_recipe():
    """Given the recipe, it has the ten networks of the paper's comparison, the first 20+05+20."""
    networks = read_config(RECIPE, CompareConfig).networks

    assert [it.shape for it in networks.values()] == [
        "20+05+20",
        "20+05+10",
        "20+05+--",
        "20+--+20",
        "03+--+--",
        "10+--+--",
        "20+--+--",
        "20+--+--",
        "20+05+20",
        "20+05+20",
    ]


def test_the_data_may_lie_elsewhere():
    """Given other folders, the recipe's are replaced; the inventory lies with the photos."""
    there = read_config(RECIPE, CompareConfig).with_data(Path("p"), Path("t"), Path("q"))

    assert there.distil.photos.folder == Path("p")
    assert there.distil.photos.inventory == Path("p/INVENTORY.tsv")
    assert (there.distil.teacher_store, there.pairs) == (Path("t"), Path("q"))
