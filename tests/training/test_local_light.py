"""Light that differs within a photograph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.training.augment import make_degradation
from app.training.local_light import LocalLightConfig, random_light, relight

IMAGE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 96), np.uint8))


@pytest.mark.parametrize("stops", [-2.0, 1.0])
def test_an_even_light_is_an_exposure(stops: float) -> None:
    """The same stops at all places are those of a damage to the whole photograph."""
    lit = relight(IMAGE, torch.full((64, 96), stops))
    exposed = make_degradation(stops=stops)(IMAGE).mul(255.0).round()
    assert (lit.float() - exposed).abs().max() <= 1


def test_no_light_changes_nothing() -> None:
    """Zero stops give the image."""
    assert torch.equal(relight(IMAGE, torch.zeros(64, 96)), IMAGE)


@pytest.mark.parametrize("seed", range(12))
def test_light_differs_within_the_range(seed: int) -> None:
    """The stops lie in the range, and differ by what the configuration demands, if not more."""
    config = LocalLightConfig(exposure=(-2.5, 0.5), difference=1.0, second=0.0)
    stops = random_light(IMAGE, config, np.random.default_rng(seed))
    assert stops.shape == IMAGE.shape[1:]
    assert stops.min() >= -2.5
    assert stops.max() <= 0.5
    assert stops.max() - stops.min() > 0.3  # a soft mask may not reach its ends


def test_a_seed_gives_the_same_light() -> None:
    """All that is random comes from the generator."""
    config = LocalLightConfig(second=1.0)
    first, again = (random_light(IMAGE, config, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(first, again)
