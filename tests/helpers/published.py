"""Published checkpoints, and the images that their authors' code computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.luts.lut3d import Lut3D
from app.networks import import_checkpoint
from app.networks.base import ThumbnailRecipe
from app.networks.store import write_model

CHECKPOINTS = {
    "20+05+10": ["clutnet-fivek-20+05+10.pth"],
    "20+05+20": ["clutnet-fivek-20+05+20.pth"],
    "ia3dlut": ["ia3dlut-fivek-srgb-luts.pth", "ia3dlut-fivek-srgb-classifier.pth"],
    "adaint": ["adaint-fivek-srgb.pth"],
    "seplut": ["seplut-fivek-srgb-m8-3d17-1d17.pth"],
}
GUARDED = {  # served with a guard, which their authors' results are without
    "svdlut": ["svdlut-fivek-srgb.pth"],
    "bgrid": ["lutwithbgrid-fivek-srgb.pth"],
}
CLUTNETS = ("20+05+10", "20+05+20")
SIBLINGS = ("ia3dlut", "adaint", "seplut")
PHOTOS = ("a1629", "a2803", "a2917", "a3102")


def model_name(published: str) -> str:
    """Return the name in our stores, which allow no plus sign."""
    return published.replace("+", "-")


def import_all(shared: Path, store: Path) -> None:
    """Import every published network into a model store."""
    for name, files in CHECKPOINTS.items():
        write_model(
            store,
            import_checkpoint(shared / "weights" / file for file in files),
            name=model_name(name),
            licence="",
            source="",
            thumbnail=ThumbnailRecipe(),
        )


def read_input(shared: Path, name: str) -> NDArray[np.uint8]:
    """Read one of the input images of the published results, (H, W, 3)."""
    path = shared / "parity" / f"{name}.jpg"
    if not path.exists():
        path = shared / "pairs" / f"{name}-input.png"
    return read_pixels(path)


def read_result(shared: Path, name: str, model: str) -> NDArray[np.uint8]:
    """Read the image (H, W, 3) that the authors' code computes."""
    return read_pixels(shared / "parity" / f"{name}-{model}.png")


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Read the pixels (H, W, 3) of an image file, without its profile and orientation."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_published_look(shared: Path, model: str = "20+05+20") -> Lut3D:
    """Read the table that a published CLUT-Net predicts for the image a1629."""
    with np.load(shared / "parity" / f"a1629-{model}.npz") as published:
        residual = published["residual_lut"].transpose(1, 2, 3, 0)  # (3, B, G, R) to (B, G, R, 3)
    return Lut3D(Lut3D.identity(33).table + residual)
