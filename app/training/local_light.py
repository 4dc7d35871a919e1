"""Light that differs within a photograph: smooth masks, exposed in linear light."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from app.training.augment import LUMA, Range, decode_srgb, encode_srgb

_CLUSTERS = 5
_ROUNDS = 4
_SMALL = 64  # the side of the grid of places in which segments are found
_MASK = 128  # the largest side of a mask, which is enlarged: they are smooth

_LINEAR = decode_srgb(np.linspace(0.0, 1.0, 256)).astype(np.float32)
# Of square roots of linear light, which are dense enough in the shadows.
_CODED = np.rint(encode_srgb(np.linspace(0.0, 1.0, 1 << 13) ** 2) * 255.0).astype(np.uint8)

Mask = NDArray[np.float64]  # (H, W) in 0..1


class LocalLightConfig(BaseModel):
    """The distribution of local light.

    Attributes:
        exposure: the least and the most stops at any place.
        difference: the least stops between the two sides of a mask.
        second: probability of a second mask.
        drawn: share of drawn pages instead of photographs: flat colours, in which halos show.
        damaged: probability of a damage to all of the photograph as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exposure: Range = (-3.0, 1.0)
    difference: float = Field(default=0.7, ge=0)
    second: float = Field(default=0.3, ge=0, le=1)
    drawn: float = Field(default=0.1, ge=0, le=1)
    damaged: float = Field(default=0.3, ge=0, le=1)


def relight(image: Tensor, stops: Tensor) -> Tensor:
    """Expose each place of an image anew, in linear light, and clip as a sensor does.

    Args:
        image: uint8 (3, H, W), sRGB.
        stops: float32 (H, W).

    Returns:
        uint8 (3, H, W).
    """
    light = _LINEAR[image.numpy()] * 2.0 ** stops.numpy()
    places = np.sqrt(np.minimum(light, 1.0)) * (len(_CODED) - 1)
    return torch.from_numpy(_CODED[np.rint(places).astype(np.intp)])


def random_light(image: Tensor, config: LocalLightConfig, rng: np.random.Generator) -> Tensor:
    """Draw the stops (H, W), float32, for each place of an image uint8 (3, H, W)."""
    height, width = image.shape[1:]
    step = max(1, -(-max(height, width) // _MASK))
    small = functional.avg_pool2d(image.float(), step).byte()
    stops = _one_light(small, config, rng)
    if rng.random() < config.second:
        stops = stops + 0.5 * _one_light(small, config, rng)
    planes = torch.from_numpy(stops.clip(*config.exposure).astype(np.float32))[None, None]
    return functional.interpolate(planes, (height, width), mode="bilinear")[0, 0]


def _one_light(image: Tensor, config: LocalLightConfig, rng: np.random.Generator) -> Mask:
    lowest, highest = config.exposure
    split = rng.uniform(lowest, highest - config.difference)
    dark, bright = rng.uniform(lowest, split), rng.uniform(split + config.difference, highest)
    kind = int(rng.choice(len(_KINDS), p=_SHARES))
    mask = _KINDS[kind](image, rng)
    return dark + (bright - dark) * mask


def _gradient(image: Tensor, rng: np.random.Generator) -> Mask:
    """Rise along a direction, over a tenth to all of the image."""
    x, y = _coordinates(image)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    return _smooth_step((along - rng.uniform(-0.6, 0.2)) / rng.uniform(0.2, 1.5))


def _vignette(image: Tensor, rng: np.random.Generator) -> Mask:
    """Fall from a centre to the corners."""
    x, y = _coordinates(image)
    distance = np.hypot(x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3))
    mask: Mask = 1.0 - (distance / distance.max()) ** rng.uniform(1.5, 3.0)
    return mask


def _spots(image: Tensor, rng: np.random.Generator) -> Mask:
    """Light one to three ellipses or rectangles, as lamps and windows do; or shade them."""
    x, y = _coordinates(image)
    mask = np.zeros_like(x)
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0.0, np.pi)
        dx, dy = x - rng.uniform(-0.9, 0.9), y - rng.uniform(-0.9, 0.9)
        u = (np.cos(angle) * dx + np.sin(angle) * dy) / rng.uniform(0.15, 0.7)
        v = (np.cos(angle) * dy - np.sin(angle) * dx) / rng.uniform(0.15, 0.7)
        power = rng.choice((2.0, 8.0))  # an ellipse, or a rectangle with round corners
        radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1.0 / power)
        mask = np.maximum(mask, _smooth_step((1.0 - radius) / rng.uniform(0.05, 0.8) + 0.5))
    return mask if rng.random() < 0.7 else 1.0 - mask


def _segments(image: Tensor, rng: np.random.Generator) -> Mask:
    """Light segments of like colour at like places."""
    x, y = _coordinates(image)
    features = np.concatenate(
        (image.numpy() / 255.0, rng.uniform(0.1, 0.5) * np.stack((x, y)))
    ).reshape(5, -1)
    stride = max(1, features.shape[1] // _SMALL**2)
    centres = features[:, rng.choice(features.shape[1], _CLUSTERS, replace=False)]
    for _ in range(_ROUNDS):
        nearest = _nearest(features[:, ::stride], centres)
        for index in range(_CLUSTERS):
            if (nearest == index).any():
                centres[:, index] = features[:, ::stride][:, nearest == index].mean(axis=1)
    lit = rng.permutation(_CLUSTERS) < rng.integers(1, _CLUSTERS)
    mask = lit[_nearest(features, centres)].reshape(x.shape).astype(np.float64)
    return _blur(mask, rng)


def _backlight(image: Tensor, rng: np.random.Generator) -> Mask:
    """Light the bright parts, and leave the dark parts in the shade."""
    luma = np.tensordot(LUMA, image.numpy() / 255.0, axes=1)
    smooth = _blur(luma, rng)
    level = np.quantile(smooth, rng.uniform(0.25, 0.75))
    return _blur(_smooth_step((smooth - level) / rng.uniform(0.02, 0.2) + 0.5), rng)


_KINDS: tuple[Callable[[Tensor, np.random.Generator], Mask], ...] = (
    _gradient,
    _vignette,
    _spots,
    _segments,
    _backlight,
)
_SHARES = (0.2, 0.1, 0.25, 0.25, 0.2)


def _coordinates(image: Tensor) -> tuple[Mask, Mask]:
    """Return x and y (H, W) from -1 to 1."""
    height, width = image.shape[1:]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    return x, y


def _nearest(features: Mask, centres: Mask) -> NDArray[np.intp]:
    """Find the nearest of the centres (F, K) to each of the features (F, N): (N,)."""
    # |f - c|^2 without |f|^2, which is the same for all centres.
    distances = (centres**2).sum(axis=0)[:, None] - 2.0 * centres.T @ features
    nearest: NDArray[np.intp] = distances.argmin(axis=0)
    return nearest


def _blur(mask: Mask, rng: np.random.Generator) -> Mask:
    """Soften a mask by a random radius, of up to an eighth of the image."""
    side = min(mask.shape)
    radius = 1 + int(side * rng.uniform(0.0, 1.0) ** 3 / 8)
    planes = torch.from_numpy(mask)[None, None]
    for _ in range(2):
        padded = functional.pad(planes, [radius] * 4, mode="replicate")
        planes = functional.avg_pool2d(padded, 2 * radius + 1, stride=1)
    blurred: Mask = planes[0, 0].numpy()
    return blurred


def _smooth_step(t: Mask) -> Mask:
    t = t.clip(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
