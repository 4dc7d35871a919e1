"""Details at twice their size: as uploaded, cleaned, and enlarged.

    python -m benchmarks.restoration_pictures PHOTOS OUT.jpg

Each row is a photograph with a licence that allows it to be shown; see docs/restoration.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from app.policies import STORE
from app.restoration.store import Restorers, read_restorers
from app.training.data import read_photo
from app.training.restoration.patches import add_noise
from benchmarks.restoration import (
    REDUCED,
    Bytes,
    clean_auto,
    compress,
    read,
    resize,
)
from benchmarks.restoration_upscaling import upscaling_methods
from benchmarks.sheet import draw_sheet

SIDE, ZOOM = 128, 2  # pixels of a detail, in each direction
TILE = SIDE * ZOOM
QUALITY = 85


class Detail(NamedTuple):
    """A square of a photograph, and the damage of the upload.

    Attributes:
        file: the name in the folder.
        centre: of the square, as a share of the height and of the width.
        quality: of the JPEG, or None.
        sigma: of the noise.
    """

    file: str
    centre: tuple[float, float]
    quality: int | None
    sigma: float = 0.0


DETAILS = (
    Detail("7126cc16b507.jpg", (0.36, 0.5), 50),
    Detail("8efc6c1c4d5a.jpg", (0.6, 0.44), 60),
    Detail("7545cb6920aa.jpg", (0.25, 0.2), 40),
    Detail("c5eb8f61e5c0.jpg", (0.4, 0.62), 25),
)


def make_row(detail: Detail, folder: Path, restorers: Restorers) -> dict[str, Bytes]:
    """Return the tiles of a detail by their headings, each twice its size."""
    original = resize(read_photo(folder / detail.file), REDUCED, Image.Resampling.LANCZOS)
    noisy = add_noise(original, detail.sigma, np.random.default_rng(0))
    damaged = noisy if detail.quality is None else read(compress(noisy, detail.quality))
    methods = upscaling_methods(restorers, ZOOM)
    results = {
        "original": enlarge(original),
        "upload": enlarge(damaged),
        "restore=auto": enlarge(clean_auto(restorers)(damaged, detail.quality)),
        "upload, Lanczos": methods["Lanczos"](damaged, detail.quality),
        "restore=auto, upscale=2": methods["restore=auto, upscale"](damaged, detail.quality),
    }
    height, width = original.shape[:2]
    top, left = (
        ZOOM * max(0, min(round(share * side) - SIDE // 2, side - SIDE))
        for share, side in zip(detail.centre, (height, width), strict=True)
    )
    return {name: it[top : top + TILE, left : left + TILE] for name, it in results.items()}


def enlarge(pixels: Bytes) -> Bytes:
    """Repeat each pixel."""
    return pixels.repeat(ZOOM, 0).repeat(ZOOM, 1)


def main(folder: Path, output: Path) -> None:
    """Write the sheet."""
    restorers = read_restorers(STORE)
    rows = [make_row(detail, folder, restorers) for detail in DETAILS]
    draw_sheet(rows, (TILE, TILE)).save(output, quality=QUALITY, subsampling=0, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
