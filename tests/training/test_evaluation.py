from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.networks import import_checkpoint
from app.networks.base import ThumbnailRecipe
from app.networks.store import Model, read_model, read_store, write_model
from app.policies import STORE
from app.training.config import new_network
from app.training.data import good_photos, photo_files
from app.training.ensemble import Ensemble
from app.training.evaluation import (
    DAMAGES,
    ArtifactMetrics,
    Score,
    evaluate,
    excess_variation,
    mean_de2000,
    mean_score,
    measure_artifacts,
    measure_photo,
    recover,
    score,
    summarize,
)

PHOTO = np.random.default_rng(0).integers(40, 200, (32, 32, 3), np.uint8)
NOISE = np.random.default_rng(0).integers(1, 255, (64, 80, 3), np.uint8)


def test_each_test_pair_has_its_score(pairs, teacher):
    """Given dark inputs and a network that brightens, the outputs are nearer than the inputs."""
    report = evaluate(Ensemble([teacher]), pairs)

    assert list(report.scores) == ["sunset", "tea-gardens"]
    assert report.mean.psnr == pytest.approx(sum(it.psnr for it in report.scores.values()) / 2)
    assert report.mean.psnr > 15


def test_a_contact_sheet_shows_input_output_and_target(pairs, teacher, tmp_path):
    """Given two pairs, the sheet has two rows of three, and dark inputs on the left."""
    evaluate(Ensemble([teacher]), pairs, sheet=tmp_path / "sheet.png")

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 360, 2 * 240)
        means = [
            sum(sheet.crop((x, 0, x + 240, 240)).resize((1, 1)).getpixel((0, 0)))
            for x in (0, 360, 720)
        ]
    assert means[0] < means[1]
    assert means[0] < means[2]


def test_a_network_that_changes_nothing_recovers_nothing(small_photos, teacher):
    """Given the identity, each damage is as large after as before, and nothing else is changed."""
    identity = Model(teacher.card, new_network(n=1, s=None, w=None, d=9, seed=0))

    table = recover(Ensemble([identity]), photo_files(small_photos))

    assert list(table) == [*DAMAGES, "mean of the damaged"]
    assert table["untouched"] == pytest.approx((0, 0), abs=0.01)
    assert all(row.after == pytest.approx(row.before, abs=0.05) for row in table.values())
    assert table["under-exposed 2 EV"].before > table["under-exposed 1 EV"].before > 5


def test_brightening_recovers_dark_photos_and_harms_bright_ones(small_photos, teacher):
    """Given a network that brightens, dark photos come nearer, and untouched ones go away."""
    table = recover(Ensemble([teacher]), photo_files(small_photos))

    assert table["under-exposed 1 EV"].after < table["under-exposed 1 EV"].before
    assert table["over-exposed 0.7 EV"].after > table["over-exposed 0.7 EV"].before
    assert table["untouched"].after > 5
    damaged = [row.after for name, row in table.items() if name in DAMAGES and name != "untouched"]
    assert table["mean of the damaged"].after == pytest.approx(sum(damaged) / 10)


@pytest.mark.reference
def test_the_published_network_has_its_known_psnr(shared, tmp_path):
    """Given the published CLUT-Net 20+05+10 and the eight pairs, the mean is 29.38 dB."""
    network = import_checkpoint([shared / "weights" / "clutnet-fivek-20+05+10.pth"])
    write_model(
        tmp_path, network, name="it", licence="none", source="", thumbnail=ThumbnailRecipe()
    )

    report = evaluate(Ensemble(read_store(tmp_path)), shared / "pairs")

    assert report.mean.psnr == pytest.approx(29.38, abs=0.02)


@pytest.mark.reference
@pytest.mark.parametrize(("name", "version", "least"), [("default", "2", 27), ("vivid", "1", 29)])
def test_the_embedded_networks_are_worth_serving(shared, name, version, least):
    """Given the eight pairs, not trained on, they are far above the 18.0 dB of the inputs."""
    model = read_model(STORE / name / version)

    report = evaluate(Ensemble([model]), shared / "pairs")

    assert report.mean.psnr > least


@pytest.mark.reference
@pytest.mark.slow
def test_the_default_network_leaves_finished_photos_alone(shared):
    """Given a third of the held-out photographs, it keeps to the aims of docs/training.md.

    Of these, the untouched ones are changed by 3.2 dE76; of all, by 2.7.
    """
    folder = shared / "photos"
    files = good_photos(folder, folder / "INVENTORY.tsv", held_out=True)[:18]

    table = recover(Ensemble([read_model(STORE / "default" / "2")]), files)

    assert table["untouched"].after < 3.5
    for damage, most in (
        ("over-exposed 0.7 EV", 9.5),
        ("under-exposed 2 EV", 8.5),
        ("warm", 8.0),
        ("cold", 8.0),
        ("mean of the damaged", 8.0),
    ):
        assert table[damage].after < most, damage


def test_psnr_is_that_of_the_8_bit_levels():
    """Given an output off by 10 levels everywhere, the PSNR is 20 log10(255 / 10)."""
    assert score(PHOTO + 10, PHOTO).psnr == pytest.approx(20 * np.log10(25.5), abs=1e-4)


def test_structure_survives_brightness_better_than_noise():
    """Given a shift and noise of the same PSNR, the noise has the lower SSIM."""
    noise = np.random.default_rng(1).choice([-10, 10], PHOTO.shape)

    assert score(PHOTO + 10, PHOTO).ssim > score((PHOTO + noise).astype(np.uint8), PHOTO).ssim


def test_a_perfect_output_has_no_difference():
    """Given the target itself: an infinite PSNR, an SSIM of 1, and no colour difference."""
    assert score(PHOTO, PHOTO) == Score(float("inf"), 1.0, 0.0, 0.0)


def test_de76_is_the_distance_in_lab():
    """Given white for black, the CIE 1976 difference is 100, the range of lightness."""
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)

    assert score(white, black).de76 == pytest.approx(100, abs=0.01)


def test_de2000_agrees_with_the_published_test_data():
    """Given pair 1 of Sharma, Wu and Dalal (2005), the difference is 2.0425."""
    pair = np.array([50.0, 2.6772, -79.7751]), np.array([50.0, 0.0, -82.7485])

    assert mean_de2000(*pair) == pytest.approx(2.0425, abs=1e-4)


def test_the_mean_is_that_of_each_figure():
    """Given two scores, their mean is figure by figure."""
    assert mean_score([Score(20, 0.8, 4, 3), Score(30, 1.0, 2, 1)]) == Score(25, 0.9, 3, 2)


@pytest.fixture
def untouched(teacher: Model) -> Model:
    """Make a network that changes nothing."""
    return Model(teacher.card, new_network(n=1, s=None, w=None, d=9, seed=0))


def test_variation_of_a_straight_line_is_its_change():
    """Given lines that only rise or only fall, the ratio is 1."""
    assert excess_variation(np.array([[0.0, 1.0], [0.3, 0.5], [1.0, 0.0]])) == pytest.approx(1)


def test_variation_counts_the_way_there_and_back():
    """Given 0, 0.6, 0.4, 1: the way is 0.6 + 0.2 + 0.6 and the change 1."""
    assert excess_variation(np.array([[0.0], [0.6], [0.4], [1.0]])) == pytest.approx(1.4)


def test_the_identity_does_no_harm(untouched):
    """Given a network that changes nothing: no bands, no clipping, no casts, no wavering."""
    assert measure_photo(Ensemble([untouched]), NOISE) == pytest.approx((1, 1, 0, 0, 0), abs=0.01)


def test_a_line_of_one_colour_has_no_bands():
    """Given a ramp that is all clipped to white, the ratio is 1, not undefined."""
    assert excess_variation(np.ones((5, 3))) == 1


def test_bands_are_seen_on_ramps_and_axes(untouched):
    """Given a table with a dent in the middle, ramps and axes have too much variation."""
    untouched.network.identity[:, 4, 4, 4] -= 0.2

    found = measure_photo(Ensemble([untouched]), NOISE)

    assert found.ramps > 1.1
    assert found.axes > 1.001


def test_clipping_is_in_points(untouched):
    """Given a table that sends everything to white, all pixels but the clipped ones are new."""
    untouched.network.identity.fill_(1.5)
    half_white = NOISE.copy()
    half_white[:32] = 255

    assert measure_photo(Ensemble([untouched]), half_white).clipping == pytest.approx(50)


def test_a_cast_on_grays_is_seen(untouched):
    """Given a table that takes a tenth of the blue, grays turn yellow by some dE2000."""
    untouched.network.identity[2] *= 0.9

    assert 2 < measure_photo(Ensemble([untouched]), NOISE).gray < 12


def test_wavering_is_seen(teacher):
    """Given a network that looks at fine noise, the reduced decode makes another thumbnail."""
    network = new_network(n=1, s=1, w=1, d=5, seed=0)
    network.psi.data.fill_(3.0)

    assert measure_photo(Ensemble([Model(teacher.card, network)]), NOISE).thumbnail > 0.01


def test_every_photo_has_its_measure_artifacts(teacher, small_photos):
    """Given a folder, each photo is there by name."""
    files = photo_files(small_photos)[:2]

    assert list(measure_artifacts(Ensemble([teacher]), files)) == [path.name for path in files]


def test_the_summary_is_near_the_worst_of_bands_and_the_mean_of_the_rest():
    """Given 21 metrics, bands are the 20th in order, and the others are averaged."""
    metrics = [ArtifactMetrics(1 + i, 1 + i, i, i, i) for i in range(21)]

    assert summarize(metrics) == pytest.approx((20, 20, 10, 10, 10))
