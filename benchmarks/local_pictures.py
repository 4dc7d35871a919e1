"""Photographs with a part in shade, through the default and the local model.

    python -m benchmarks.local_pictures PHOTOS docs/local-looks.jpg

Each row is a photograph whose licence allows it to be shown; docs/local-looks.md has the credits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from app.networks.store import read_model
from app.policies import STORE
from app.training.augment import LUMA
from app.training.data import read_photo
from app.training.ensemble import Ensemble
from app.training.evaluation import enhance
from app.training.local_light import relight
from benchmarks.models import compute_psnr
from benchmarks.sheet import draw_sheet

Bytes = NDArray[np.uint8]

TILE = (294, 194)
QUALITY = 85


class Scene(NamedTuple):
    """A photograph, and a part of it that is put into shade.

    Attributes:
        title: of the light.
        file: the name in the folder.
        shaded: what lies in shade: the lower part, the left part, or what is dark.
        begin: the place of the edge, as a share of the side; or the luma.
        soft: the width of the edge, in the same unit.
        stops: of light in the shade.
    """

    title: str
    file: str
    shaded: Literal["below", "left", "dark"]
    begin: float
    soft: float
    stops: float


SCENES = (
    Scene("backlit: shade over what is dark", "ae610a5703eb.jpg", "dark", 0.6, 0.5, -2.0),
    Scene("backlit building", "c5eb8f61e5c0.jpg", "below", 0.35, 0.15, -2.2),
    Scene("indoor with window", "d1191582ed90.jpg", "below", 0.25, 0.3, -2.0),
    Scene("at the window", "155bf440e6a0.jpg", "left", 0.6, 0.2, -1.8),
    Scene("night", "31550b4d84a6.jpg", "below", 0.45, 0.2, -2.0),
    Scene("night street", "70545ebf114d.jpg", "left", 0.5, 0.2, -2.0),
)


def put_into_shade(original: Bytes, scene: Scene) -> Bytes:
    """Darken a part of a photograph (H, W, 3) in linear light."""
    height, width = original.shape[:2]
    y, x = np.mgrid[:height, :width]
    measures = {
        "below": y / height - scene.begin,
        "left": scene.begin - x / width,
        "dark": scene.begin - _smooth_luma(original),
    }
    mask = (measures[scene.shaded] / scene.soft).clip(0.0, 1.0)
    planes = torch.from_numpy(original.copy()).permute(2, 0, 1)
    shaded = relight(planes, torch.from_numpy((scene.stops * mask).astype(np.float32)))
    return np.ascontiguousarray(shaded.permute(1, 2, 0).numpy())


def _smooth_luma(pixels: Bytes) -> NDArray[np.float64]:
    """Return the luma (H, W) in 0..1, without detail: light has none."""
    luma = Image.fromarray(np.rint(pixels @ np.array(LUMA)).astype(np.uint8))
    small = luma.resize((16, 12), Image.Resampling.BOX)
    return np.asarray(small.resize(luma.size, Image.Resampling.BICUBIC)) / 255.0


def make_row(scene: Scene, folder: Path, models: dict[str, Ensemble]) -> dict[str, Bytes]:
    """Return the tiles of a scene by their headings."""
    original = read_photo(folder / scene.file)
    shaded = put_into_shade(original, scene)
    results = {name: enhance(model, shaded) for name, model in models.items()}
    gain = np.diff([compute_psnr(it, original) for it in results.values()])[0]
    print(f"{scene.title} ({scene.file}): local {gain:+.1f} dB over default")
    return {"a part in shade": shaded, **results, "original": original}


def main(folder: Path, output: Path) -> None:
    """Write the sheet, and print what the local model gains."""
    stored = {"default": STORE / "default" / "2", "local": STORE / "local" / "2"}
    models = {name: Ensemble([read_model(place)]) for name, place in stored.items()}
    rows = [make_row(scene, folder, models) for scene in SCENES]
    draw_sheet(rows, TILE).save(output, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
