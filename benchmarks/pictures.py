"""The same images through every model of a store.

Run `python -m benchmarks.pictures OUT.jpg [PHOTO...]`; the default are the photographs of tests/.
CLUT_MODELS_STORE is the store. Models without a stated licence are left out.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from app.luts.apply import apply
from app.networks.store import Model
from app.policies import DevicePolicy
from app.serving.device import Device
from benchmarks.models import predict, read_models, read_pixels

PHOTOS = Path(__file__).parent.parent / "tests" / "photos"
TILE = (320, 180)
HEADING = 32
QUALITY = 85


async def enhance(device: Device, model: Model, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enhance an image (H, W, 3) with a model."""
    output = photo.copy()
    apply(output, await predict(device, model, photo), "trilinear")
    return output


def draw_heading(sheet: Image.Image, labels: list[str]) -> None:
    """Write the names of the columns."""
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    for column, label in enumerate(labels):
        middle = ((column + 0.5) * TILE[0], HEADING / 2)
        draw.text(middle, label, fill="black", font=font, anchor="mm")


async def draw_page(models: list[Model], files: list[Path]) -> Image.Image:
    """Draw a row for each image: the original, then the output of each model."""
    size = ((1 + len(models)) * TILE[0], HEADING + len(files) * TILE[1])
    sheet = Image.new("RGB", size, "white")
    draw_heading(sheet, ["original", *(model.card.name for model in models)])
    async with Device(DevicePolicy(name="cpu")) as device:
        for row, path in enumerate(files):
            photo = read_pixels(path)
            tiles = [photo, *[await enhance(device, model, photo) for model in models]]
            for column, tile in enumerate(tiles):
                fitted = ImageOps.fit(Image.fromarray(tile), TILE)
                sheet.paste(fitted, (column * TILE[0], HEADING + row * TILE[1]))
    return sheet


def main(output: Path, files: list[Path]) -> None:
    """Write the page."""
    models = [model for model in read_models() if model.card.licence != "not stated"]
    asyncio.run(draw_page(models, files)).save(output, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(it) for it in sys.argv[2:]] or sorted(PHOTOS.glob("*.jpg")))
