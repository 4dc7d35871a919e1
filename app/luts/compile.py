"""Compiling all loops ahead, when the service is installed or its image built."""

from __future__ import annotations

from typing import get_args

import numpy as np

from app.luts.cube import write_cube
from app.luts.kernel import apply
from app.luts.lut3d import Interpolation, Lut3D

STEEP, SMOOTH = Lut3D.identity(2), Lut3D.identity(33)  # the first is too steep to pack


def compile_loops() -> None:
    """Compile every loop for every kind of pixels, or load it from disk, before it is needed."""
    for interpolation in get_args(Interpolation):
        for lut, dtype in ((SMOOTH, np.uint8), (STEEP, np.uint8), (STEEP, np.uint16)):
            apply(np.zeros((1, 1, 3), dtype), lut, interpolation)
    write_cube(STEEP, title="")
