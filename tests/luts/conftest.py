"""Looks and images for the tests of the LUTs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.luts.lut3d import Lut3D


@pytest.fixture
def photo(photos: Path) -> NDArray[np.uint8]:
    """Read a photograph (H, W, 3)."""
    with Image.open(photos / "lake.jpg") as image:
        return np.array(image.convert("RGB"))


@pytest.fixture
def look() -> Lut3D:
    """Make a saturated look that overshoots 0..1 by about 0.15, as learned tables do."""
    table = Lut3D.identity(33).table
    grey = table.mean(axis=-1, keepdims=True)
    contrast = grey - 0.08 * np.sin(2 * np.pi * grey)
    return Lut3D((contrast + 1.3 * (table - grey)).astype(np.float32))


@pytest.fixture
def adaptive_look(look: Lut3D) -> Lut3D:
    """Make a look on a lattice that is not uniform, as AdaInt does."""
    lattice = np.linspace(0, 1, 33) ** np.array([[0.6], [1.0], [1.7]])
    inputs = np.linspace(0, 1, 256)
    shaper = [np.interp(inputs, vertices, np.linspace(0, 1, 33)) for vertices in lattice]
    return Lut3D(look.table, np.array(shaper, np.float32))


@pytest.fixture
def separable_look() -> Lut3D:
    """Make 17-point curves, neither over all of 0..1 nor monotone, before a table of 17."""
    inputs = np.linspace(0, 1, 17)
    curves = [0.1 + 0.7 * inputs, inputs**0.5, inputs + 0.1 * np.sin(9 * inputs)]
    return Lut3D(1.2 * Lut3D.identity(17).table - np.float32(0.1), np.array(curves, np.float32))
