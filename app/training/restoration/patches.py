"""Patches of photographs, reduced and damaged as uploads are, with the originals as targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.restoration.apply import measure_chroma, measure_luma
from app.restoration.cleaning import (
    KNOTS,
    Damage,
    Planes,
    blend_weights,
    knots_of,
    measure_bands,
)
from app.restoration.layers import Description
from app.training.data import read_photo
from app.training.restoration.config import DamageConfig, RestorationConfig

Bytes = NDArray[np.uint8]

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


class Example(NamedTuple):
    """A photograph and the input that was made of it.

    Attributes:
        original: (H, W, 3).
        damaged: (H / scale, W / scale, 3).
        weights: of the tables that undo the damage; (1,) where there is one set of tables.
    """

    original: Bytes
    damaged: Bytes
    weights: tuple[float, ...]


class Patches(NamedTuple):
    """Inputs and targets with damage of one kind.

    Attributes:
        inputs: uint8 (N, C, P + 2 * margin, P + 2 * margin).
        targets: uint8 (N, C, scale * P, scale * P), of the inputs without their margin.
        weights: as of `Example`.
    """

    inputs: Bytes
    targets: Bytes
    weights: tuple[float, ...]


def sets_of(config: RestorationConfig) -> tuple[str, ...]:
    """Return the names of the sets of tables that a run learns."""
    return knots_of(config.damage.planes) if config.method == "cleaner" else ("all",)


def read_example(path: Path, config: RestorationConfig, rng: np.random.Generator) -> Example:
    """Read a photograph and damage it."""
    original = read_original(path, config.scale, config.damage, rng)
    damaged, quality = damage(original, config.scale, config.damage, rng)
    if config.method != "cleaner":
        return Example(original, damaged, (1.0,))
    noise = measure_bands(damaged).noise
    weights = dict(zip(KNOTS, blend_weights(Damage(quality, noise)), strict=True))
    return Example(original, damaged, tuple(weights[knot] for knot in sets_of(config)))


def damage(
    original: Bytes, scale: int, config: DamageConfig, rng: np.random.Generator
) -> tuple[Bytes, float | None]:
    """Make an input (H / scale, W / scale, 3) of an original (H, W, 3).

    Returns:
        The input, and the quality of the JPEG that it was, or None.
    """
    height, width = original.shape[:2]
    reduced = original
    if scale > 1:
        kind = _FILTERS[config.filters[int(rng.integers(len(config.filters)))]]
        size = (width // scale, height // scale)
        reduced = np.asarray(Image.fromarray(original).resize(size, kind))
    if rng.random() < config.noisy:
        reduced = add_noise(reduced, float(rng.uniform(*config.noise)), rng)
    if rng.random() < config.compressed:
        quality = round(rng.uniform(*config.jpeg))
        return compress(reduced, quality), quality
    return reduced, None


def add_noise(pixels: Bytes, sigma: float, rng: np.random.Generator) -> Bytes:
    """Add Poisson-Gaussian noise; see `DamageConfig.noise`."""
    deviation = sigma * np.sqrt(0.5 + pixels / 255.0)
    noisy = pixels + rng.standard_normal(pixels.shape, np.float32) * deviation
    rounded: Bytes = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    return rounded


def compress(pixels: Bytes, quality: int) -> Bytes:
    """Write pixels (H, W, 3) as a JPEG with 4:2:0, and read them again."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)


def to_images(pixels: Bytes, channels: int, planes: Planes) -> Bytes:
    """Split pixels (H, W, 3) into images of as many channels as a model reads: (N, C, H, W)."""
    height, width = pixels.shape[:2]
    pixels = np.ascontiguousarray(pixels)
    if planes == "chroma":
        out = np.empty((2, -(-height // 2), -(-width // 2)), np.uint8)
        measure_chroma(pixels, 1, out)
    elif planes == "luma":
        out = np.empty((1, height, width), np.uint8)
        measure_luma(pixels, 1, out)
    else:
        out = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return out.reshape(-1, channels, *out.shape[1:])


def read_original(path: Path, scale: int, config: DamageConfig, rng: np.random.Generator) -> Bytes:
    """Read a photograph, reduced by a random factor to a size that `scale` divides."""
    pixels = read_photo(path)
    factor = rng.uniform(*config.originals)
    height, width = (max(1, round(side * factor) // scale) * scale for side in pixels.shape[:2])
    if factor < 1:
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(image)
    return pixels[:height, :width]


def cut(
    example: Example, config: RestorationConfig, description: Description, rng: np.random.Generator
) -> Patches:
    """Cut a photograph, flipped or not, into patches without overlap, in random order."""
    flip = slice(None, None, -1 if rng.random() < 0.5 else 1)  # rotations are in the model
    inputs, targets = (
        to_images(pixels[:, flip], description.channels, config.damage.planes)
        for pixels in (example.damaged, example.original)
    )
    scale, size, margin = config.scale, config.size, description.reach
    whole, end = size + 2 * margin, scale * size
    count, channels, height, width = inputs.shape
    corners = [
        (i, y, x)
        for i in range(count)
        for y in range(0, height - whole + 1, size)
        for x in range(0, width - whole + 1, size)
    ]
    corners = [corners[i] for i in rng.permutation(len(corners))]
    tops = [(i, scale * (y + margin), scale * (x + margin)) for i, y, x in corners]
    none = np.empty((0, channels, 0, 0), np.uint8)
    return Patches(
        np.array([inputs[i, :, y : y + whole, x : x + whole] for i, y, x in corners] or none),
        np.array([targets[i, :, y : y + end, x : x + end] for i, y, x in tops] or none),
        example.weights,
    )


def make_groups(
    photos: Sequence[Path],
    config: RestorationConfig,
    description: Description,
    rng: np.random.Generator,
) -> list[Patches]:
    """Cut photographs into groups of patches with the same damage, in random order."""
    groups = []
    count = config.patches
    for path in photos:
        cuts = cut(read_example(path, config, rng), config, description, rng)
        for first in range(0, len(cuts.inputs) - count + 1, count):
            part = slice(first, first + count)
            groups.append(Patches(cuts.inputs[part], cuts.targets[part], cuts.weights))
    return [groups[i] for i in rng.permutation(len(groups))]


def batches(
    photos: Sequence[Path],
    config: RestorationConfig,
    description: Description,
    rng: np.random.Generator,
) -> Iterator[list[Patches]]:
    """Yield batches without end; the patches of `config.pool` photographs are in memory."""
    while True:
        chosen = [photos[i] for i in rng.permutation(len(photos))[: config.pool]]
        groups = make_groups(chosen, config, description, rng)
        for first in range(0, len(groups) - config.groups + 1, config.groups):
            yield groups[first : first + config.groups]
