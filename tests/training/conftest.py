"""Small photos, small networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from app.networks.base import ThumbnailRecipe
from app.networks.store import Model, read_model, write_model
from app.training.config import new_network

SIDE = 64


@pytest.fixture
def small_photos(photos: Path, tmp_path: Path) -> Path:
    """Resize the test photographs to 64 pixels, as PNG."""
    return make_small_photos(photos, tmp_path / "small")


@pytest.fixture
def pairs(small_photos: Path, tmp_path: Path) -> Path:
    """Pairs of dark inputs and the small photographs as targets: four to train on, two to test."""
    return make_pairs(small_photos, tmp_path / "pairs")


@pytest.fixture
def teacher(tmp_path: Path) -> Model:
    """Write a small network that brightens every photo into the store `teachers`."""
    return write_teacher(tmp_path / "teachers")


def make_small_photos(photos: Path, folder: Path) -> Path:
    """Write photographs resized to 64 pixels, as PNG."""
    folder.mkdir()
    for path in photos.glob("*.jpg"):
        with Image.open(path) as image:
            image.resize((SIDE, SIDE)).save(folder / f"{path.stem}.png")
    return folder


def make_pairs(small_photos: Path, folder: Path) -> Path:
    """Write pairs of dark inputs and the photographs as targets: four to train on, two to test."""
    for i, path in enumerate(sorted(small_photos.glob("*.png"))):
        part = "test" if i >= 4 else "train"
        for kind, factor in (("input", 0.5), ("target", 1.0)):
            (folder / f"{kind}_{part}").mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.point(lambda level, factor=factor: round(level * factor)).save(
                    folder / f"{kind}_{part}" / path.name
                )
    return folder


def write_teacher(store: Path) -> Model:
    """Write a small network that brightens every photo into a store."""
    network = new_network(n=1, s=3, w=1, d=9, seed=0)
    with torch.no_grad():
        network.head[2].weight.zero_()
        network.head[2].bias.fill_(1.0)  # a code of 1, whatever the photo
        network.psi[:, 0, :, 0] = torch.tensor([0.2, 0.0, -0.2])[:, None]  # P0 - P2: 0 at the ends
    card = write_model(
        store,
        network,
        name="bright",
        licence="CC0-1.0",
        source="a test",
        thumbnail=ThumbnailRecipe(size=SIDE),
    )
    return read_model(store / card.name / str(card.version))
