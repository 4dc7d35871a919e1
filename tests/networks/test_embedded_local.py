"""The embedded local model: no halos, and less error than the global one in local light."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.networks.store import read_model
from app.policies import STORE
from app.training.data import read_photo
from app.training.ensemble import Ensemble
from app.training.evaluation import enhance
from app.training.local_light import relight
from tests.helpers.halos import measure_overshoot
from tests.helpers.paths import PHOTOS

OVERSHOOT = 2.0  # levels beyond what the same side has farther from the edge


@pytest.fixture(scope="module")
def local() -> Ensemble:
    """Read the embedded local model."""
    return Ensemble([read_model(STORE / "local" / "2")])


@pytest.mark.parametrize(("sky", "figure"), [(220, 30), (240, 60), (200, 20), (150, 40)])
def test_no_halo_at_an_edge(local: Ensemble, sky: int, figure: int) -> None:
    """Beside the edge of a dark disc, neither side exceeds the values that it has elsewhere."""
    assert measure_overshoot(local, sky, figure) <= OVERSHOOT


def psnr(pixels: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the PSNR in dB."""
    return float(-10 * np.log10(np.square(pixels / 255 - other / 255).mean()))


def test_it_lightens_a_darkened_half(local: Ensemble) -> None:
    """Where the lower part of a photograph lies in shade, it comes nearer to the original."""
    overall = Ensemble([read_model(STORE / "default" / "2")])
    original = read_photo(PHOTOS / "colosseum.jpg")
    height, width = original.shape[:2]
    step = ((np.arange(height) / height - 0.35) / 0.15).clip(0, 1)
    stops = torch.from_numpy(np.tile(-2.2 * step[:, None], (1, width)).astype(np.float32))
    planes = torch.from_numpy(original.copy()).permute(2, 0, 1)
    shaded = np.ascontiguousarray(relight(planes, stops).permute(1, 2, 0).numpy())
    gains = [psnr(enhance(it, shaded), original) for it in (overall, local)]
    assert gains[1] > gains[0] + 2.5
