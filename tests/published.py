"""What the methods' authors published: weights, and what they make of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.networks.base import ThumbnailRecipe
from app.networks.registry import import_checkpoint
from app.networks.store import write_model

CHECKPOINTS = {
    "20+05+10": ["clutnet-fivek-20+05+10.pth"],
    "20+05+20": ["clutnet-fivek-20+05+20.pth"],
    "ia3dlut": ["ia3dlut-fivek-srgb-luts.pth", "ia3dlut-fivek-srgb-classifier.pth"],
    "adaint": ["adaint-fivek-srgb.pth"],
    "seplut": ["seplut-fivek-srgb-m8-3d17-1d17.pth"],
}
GUARDED = {  # served with a guard, which their authors' answers are without
    "svdlut": ["svdlut-fivek-srgb.pth"],
    "bgrid": ["lutwithbgrid-fivek-srgb.pth"],
}
CLUTNETS = ("20+05+10", "20+05+20")
SIBLINGS = ("ia3dlut", "adaint", "seplut")
PHOTOS = ("a1629", "a2803", "a2917", "a3102")


def model_name(published: str) -> str:
    """The name in our stores, which have no plus sign."""
    return published.replace("+", "-")


def import_all(shared: Path, store: Path) -> None:
    """Puts every published network into a model store."""
    for name, files in CHECKPOINTS.items():
        write_model(
            store,
            import_checkpoint(shared / "weights" / file for file in files),
            name=model_name(name),
            licence="",
            source="",
            thumbnail=ThumbnailRecipe(),
        )


def photo(shared: Path, name: str) -> NDArray[np.uint8]:
    """One of the photographs that the published answers are about, (H, W, 3)."""
    path = shared / "parity" / f"{name}.jpg"
    if not path.exists():
        path = shared / "pairs" / f"{name}-input.png"
    return pixels(path)


def answer(shared: Path, name: str, model: str) -> NDArray[np.uint8]:
    """What the authors' code makes of it."""
    return pixels(shared / "parity" / f"{name}-{model}.png")


def pixels(path: Path) -> NDArray[np.uint8]:
    """An image file, as it lies there: no profile is applied, nothing turned."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
