"""The embedded default model: pages stay white, and black and white stays neutral."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.networks.store import read_model
from app.policies import STORE
from app.training.augment import random_page
from app.training.ensemble import Ensemble
from app.training.evaluation import enhance

NEUTRAL = 4  # levels between the channels of a gray; some have 3
KEPT = 6  # levels by which any pixel of a page may change; some change by 4


@pytest.fixture(scope="module")
def default() -> Ensemble:
    """Read the embedded default model."""
    return Ensemble([read_model(STORE / "default" / "2")])


@pytest.mark.parametrize("seed", range(8))
def test_pages_stay_as_they_are(default: Ensemble, seed: int) -> None:
    """Drawn documents, screenshots and logos keep their paper, ink and colours."""
    page = random_page(np.random.default_rng(seed)).permute(1, 2, 0).contiguous().numpy()
    change = np.abs(enhance(default, page).astype(int) - page)
    assert change.max() <= KEPT


@pytest.mark.parametrize("name", ["lake", "otters", "tea-gardens"])
@pytest.mark.parametrize("light", [1.0, 0.5])
def test_black_and_white_stays_neutral(
    default: Ensemble, photos: Path, name: str, light: float
) -> None:
    """The channels of a gray photograph, dim or not, stay together."""
    with Image.open(photos / f"{name}.jpg") as photo:
        gray = photo.convert("L").point(lambda level: round(level * light)).convert("RGB")
    enhanced = enhance(default, np.asarray(gray)).astype(int)
    assert np.ptp(enhanced, axis=2).max() <= NEUTRAL
