"""Speed and PSNR of all models of a store: `python -m benchmarks.models PAIRS`.

PAIRS is a folder of NAME-input.png and NAME-expert-c.png; CLUT_MODELS_STORE is the store. The
command prints a Markdown table. Times are medians of rounds that measure all models, so that other
load affects all of them.
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
from app.luts.local_lut import AnyLut
from app.luts.lut3d import Interpolation
from app.networks.store import Model, read_store
from app.policies import DevicePolicy
from app.serving.device import Device
from app.settings import Settings
from benchmarks.kernel import time_rounds
from benchmarks.photos import PHOTOS, SIZES, make_mosaic

ROUNDS = 15
BATCH = 8


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Read an image (H, W, 3)."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def read_models() -> list[Model]:
    """Read the models of the store, the default first."""
    policy = Settings.from_environment().models
    models = read_store(policy.store)
    return sorted(models, key=lambda model: model.card.name != policy.default)


def thumbnail_for(photo: NDArray[np.uint8], model: Model) -> NDArray[np.float32]:
    """Make the thumbnail that a model reads."""
    return make_thumbnail(photo, model.card.thumbnail.size, model.card.thumbnail.antialias)


async def predict(device: Device, model: Model, photo: NDArray[np.uint8]) -> AnyLut:
    """Predict the LUT of an image."""
    (prediction,) = await device.predict(model.network, 1, [thumbnail_for(photo, model)])
    return prediction.lut


async def time_predictions(device: Device, models: list[Model], count: int) -> list[float]:
    """Return the milliseconds of each model for a batch, thumbnails to LUTs."""
    photo = read_pixels(PHOTOS / "lake.jpg")
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(1 + ROUNDS):
        for turns, model in zip(seconds, models, strict=True):
            batch = await device.predict(
                model.network, BATCH, [thumbnail_for(photo, model)] * count
            )
            turns.append(batch[0].seconds)
    return [1000 * statistics.median(turns[1:]) for turns in seconds]


async def time_luts(device: Device, models: list[Model]) -> list[float]:
    """Return the milliseconds of the LUT of each model on 12 MP."""
    photo = read_pixels(PHOTOS / "lake.jpg")
    luts = {model.card.model_ref: await predict(device, model, photo) for model in models}
    works = {label: prepare(lut, "tetrahedral", np.uint8).apply for label, lut in luts.items()}
    turns = time_rounds(works, make_mosaic(*SIZES[12]), ROUNDS)
    return [statistics.median(taken) for taken in turns.values()]


def read_pairs(folder: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield images and the versions of an expert."""
    for path in sorted(folder.glob("*-input.png")):
        yield (
            read_pixels(path),
            read_pixels(path.with_name(path.name.replace("-input", "-expert-c"))),
        )


async def measure_psnr(
    device: Device, model: Model, folder: Path, interpolation: Interpolation
) -> float:
    """Return the mean PSNR over the pairs, in dB."""
    scores = []
    for photo, target in read_pairs(folder):
        apply(photo, await predict(device, model, photo), interpolation)
        scores.append(compute_psnr(photo, target))
    return statistics.mean(scores)


def compute_psnr(photo: NDArray[Any], target: NDArray[Any]) -> float:
    """Return the PSNR over all samples, in dB."""
    return float(10 * np.log10(255**2 / np.square(photo.astype(float) - target).mean()))


def describe_lut(model: Model) -> str:
    """Describe what a network predicts: "33³", "17³, shaper" or "2 × 33³, map"."""
    network, size = model.network, f"{model.card.lut_size}³"
    if network.map_shape is not None:
        return f"{network.map_shape[0] + 1} × {size}, map"
    return f"{size}, shaper" if network.has_shaper else size


async def report(models: list[Model], folder: Path) -> None:
    """Print the table."""
    print("| model | method | parameters | LUT | 1 thumbnail, ms | 8 thumbnails, ms |", end="")
    print(" LUT on 12 MP, ms |", end="")
    print(" PSNR tetrahedral, dB | trilinear, dB |\n|---|---|---:|---|---:|---:|---:|---:|---:|")
    async with Device(DevicePolicy(name="cpu")) as device:
        one, eight = [await time_predictions(device, models, count) for count in (1, BATCH)]
        large = await time_luts(device, models)
        for model, *times in zip(models, one, eight, large, strict=True):
            card = model.card
            row = [card.model_ref, card.architecture, f"{card.parameters:,}", describe_lut(model)]
            row += [f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[2]:.0f}"]
            for interpolation in ("tetrahedral", "trilinear"):
                row.append(f"{await measure_psnr(device, model, folder, interpolation):.2f}")
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    asyncio.run(report(read_models(), Path(sys.argv[1])))
