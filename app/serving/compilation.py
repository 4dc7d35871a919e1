"""The compiled loops that requests run."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from app.imaging.thumbnail import thumbnail
from app.luts import kernel
from app.luts.cube import write_cube
from app.luts.lut3d import Interpolation, Lut3D

STEEP, SMOOTH = Lut3D.identity(2), Lut3D.identity(33)  # the first is too steep to pack


def compile_loops(interpolations: Iterable[Interpolation]) -> None:
    """Compiles every loop, or loads it from disk, before a request needs it."""
    for dtype in (np.uint8, np.uint16):
        pixel = np.zeros((1, 1, 3), dtype)
        thumbnail(pixel, 1, antialias=False)
        for interpolation in interpolations:
            kernel.apply(pixel, SMOOTH, interpolation)
            kernel.apply(pixel, STEEP, interpolation)
    write_cube(STEEP, title="")
