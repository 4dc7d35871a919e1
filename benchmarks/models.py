"""All models of a store side by side, on this CPU.

Run `python -m benchmarks.models PAIRS`, where PAIRS is a folder of NAME-input.png and
NAME-expert-c.png; the store is that of the settings (CLUT_MODELS_STORE). It prints a Markdown
table. Times are medians. The models take turns, so that a busy moment of the machine hits all
alike.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.resize import make_thumbnail
from app.luts.apply import apply, prepare
from app.luts.lut3d import Interpolation, Lut3D
from app.networks.store import Model, read_store
from app.policies import DevicePolicy
from app.serving.device import Device
from app.settings import Settings
from benchmarks.kernel import in_turns
from benchmarks.photos import PHOTOS, SIZES, mosaic

ROUNDS = 15
BATCH = 8


def pixels(path: Path) -> NDArray[np.uint8]:
    """A photo (H, W, 3)."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def stored() -> list[Model]:
    """The models of the store, the default first."""
    policy = Settings.from_environment().models
    models = read_store(policy.store)
    return sorted(models, key=lambda model: model.card.name != policy.default)


def seen(photo: NDArray[np.uint8], model: Model) -> NDArray[np.float32]:
    """The thumbnail that a model wants."""
    return make_thumbnail(photo, model.card.thumbnail.size, model.card.thumbnail.antialias)


async def predicted(device: Device, model: Model, photo: NDArray[np.uint8]) -> Lut3D:
    """The LUT for a photo."""
    (prediction,) = await device.predict(model.network, 1, [seen(photo, model)])
    return prediction.lut


async def predict_times(device: Device, models: list[Model], count: int) -> list[float]:
    """Milliseconds that each model takes for a batch, thumbnails to LUTs."""
    photo = pixels(PHOTOS / "lake.jpg")
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(1 + ROUNDS):
        for turns, model in zip(seconds, models, strict=True):
            batch = await device.predict(model.network, BATCH, [seen(photo, model)] * count)
            turns.append(batch[0].seconds)
    return [1000 * statistics.median(turns[1:]) for turns in seconds]


async def apply_times(device: Device, models: list[Model]) -> list[float]:
    """Milliseconds that the LUT of each model takes for 12 MP."""
    photo = pixels(PHOTOS / "lake.jpg")
    luts = {model.card.model_ref: await predicted(device, model, photo) for model in models}
    works = {label: prepare(lut, "tetrahedral", np.uint8).apply for label, lut in luts.items()}
    turns = in_turns(works, mosaic(*SIZES[12]), ROUNDS)
    return [statistics.median(taken) for taken in turns.values()]


def pairs(folder: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Photos, and what an expert made of them."""
    for path in sorted(folder.glob("*-input.png")):
        yield pixels(path), pixels(path.with_name(path.name.replace("-input", "-expert-c")))


async def quality(
    device: Device, model: Model, folder: Path, interpolation: Interpolation
) -> float:
    """The mean PSNR over pairs, in dB."""
    scores = []
    for photo, target in pairs(folder):
        apply(photo, await predicted(device, model, photo), interpolation)
        scores.append(psnr(photo, target))
    return statistics.mean(scores)


def psnr(photo: NDArray[Any], target: NDArray[Any]) -> float:
    """In dB, over all samples."""
    return float(10 * np.log10(255**2 / np.square(photo.astype(float) - target).mean()))


async def report(models: list[Model], folder: Path) -> None:
    """Print the table."""
    print(
        "| model | method | parameters | LUT | 1 thumbnail, ms | 8, ms | LUT on 12 MP, ms |", end=""
    )
    print(" PSNR tetrahedral, dB | trilinear, dB |\n|---|---|---:|---|---:|---:|---:|---:|---:|")
    async with Device(DevicePolicy(name="cpu")) as device:
        one, eight = [await predict_times(device, models, count) for count in (1, BATCH)]
        large = await apply_times(device, models)
        for model, *times in zip(models, one, eight, large, strict=True):
            card = model.card
            size = f"{card.lut_size}³{', shaper' if model.network.has_shaper else ''}"
            row = [card.model_ref, card.architecture, f"{card.parameters:,}", size]
            row += [f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[2]:.0f}"]
            for interpolation in ("tetrahedral", "trilinear"):
                row.append(f"{await quality(device, model, folder, interpolation):.2f}")
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    asyncio.run(report(stored(), Path(sys.argv[1])))
