from __future__ import annotations

import numpy as np
import pytest

from app.networks.store import Model
from app.training.artifact_metrics import (
    ArtifactMetrics,
    excess_variation,
    measure_artifacts,
    measure_photo,
    summarize,
)
from app.training.checkpoint import new_network
from app.training.data import photo_files
from app.training.ensemble import Ensemble

PHOTO = np.random.default_rng(0).integers(1, 255, (64, 80, 3), np.uint8)


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
    assert measure_photo(Ensemble([untouched]), PHOTO) == pytest.approx((1, 1, 0, 0, 0), abs=0.01)


def test_a_line_of_one_colour_has_no_bands():
    """Given a ramp that is all clipped to white, the ratio is 1, not undefined."""
    assert excess_variation(np.ones((5, 3))) == 1


def test_bands_are_seen_on_ramps_and_axes(untouched):
    """Given a table with a dent in the middle, ramps and axes have too much variation."""
    untouched.network.identity[:, 4, 4, 4] -= 0.2

    found = measure_photo(Ensemble([untouched]), PHOTO)

    assert found.ramps > 1.1
    assert found.axes > 1.001


def test_clipping_is_in_points(untouched):
    """Given a table that sends everything to white, all pixels but the clipped ones are new."""
    untouched.network.identity.fill_(1.5)
    half_white = PHOTO.copy()
    half_white[:32] = 255

    assert measure_photo(Ensemble([untouched]), half_white).clipping == pytest.approx(50)


def test_a_cast_on_grays_is_seen(untouched):
    """Given a table that takes a tenth of the blue, grays turn yellow by some dE2000."""
    untouched.network.identity[2] *= 0.9

    assert 2 < measure_photo(Ensemble([untouched]), PHOTO).gray < 12


def test_wavering_is_seen(teacher):
    """Given a network that looks at fine noise, the reduced decode makes another thumbnail."""
    network = new_network(n=1, s=1, w=1, d=5, seed=0)
    network.psi.data.fill_(3.0)

    assert measure_photo(Ensemble([Model(teacher.card, network)]), PHOTO).thumbnail > 0.01


def test_every_photo_has_its_measure_artifacts(teacher, small_photos):
    """Given a folder, each photo is there by name."""
    files = photo_files(small_photos)[:2]

    assert list(measure_artifacts(Ensemble([teacher]), files)) == [path.name for path in files]


def test_the_summary_is_near_the_worst_of_bands_and_the_mean_of_the_rest():
    """Given 21 metrics, bands are the 20th in order, and the others are averaged."""
    metrics = [ArtifactMetrics(1 + i, 1 + i, i, i, i) for i in range(21)]

    assert summarize(metrics) == pytest.approx((20, 20, 10, 10, 10))
