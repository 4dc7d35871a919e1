"""Damage, random views, drawn pages, thumbnails and the pixels of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

_PAGE = 512


def random_view(image: Tensor, smallest: float, rng: np.random.Generator) -> Tensor:
    """Crop (..., H, W) to `smallest` to 1 of each side, and mirror every other one."""
    height, width = (round(side * rng.uniform(smallest, 1.0)) for side in image.shape[-2:])
    top = rng.integers(image.shape[-2] - height + 1)
    left = rng.integers(image.shape[-1] - width + 1)
    crop = image[..., top : top + height, left : left + width]
    return crop.flip(-1) if rng.random() < 0.5 else crop


def cut_mix(image: Tensor, other: Tensor, rng: np.random.Generator) -> Tensor:
    """Replace 20 to 80 % of (C, H, W), from one side on, by that part of another image.

    After CutMix (Yun et al., ICCV 2019): with few photographs the network would memorise
    them.
    """
    joined = _resize(other, image.shape[1], image.shape[2], antialias=True)
    axis = int(rng.integers(1, 3))
    length = image.shape[axis]
    kept = round(length * rng.uniform(0.2, 0.8))
    joined.narrow(axis, 0, kept).copy_(image.narrow(axis, 0, kept))
    return joined


def random_page(rng: np.random.Generator) -> Tensor:
    """Draw a document, a screenshot or a logo: uint8 (3, 512, 512)."""
    dark = rng.random() < 0.25
    paper = rng.integers(0, 45, 3) if dark else rng.integers(225, 256, 3)
    if rng.random() < 0.6:  # pure black or white
        paper = np.full(3, 0 if dark else 255)
    page = Image.new("RGB", (_PAGE, _PAGE), tuple(paper.tolist()))
    draw = ImageDraw.Draw(page)
    for _ in range(rng.integers(0, 6)):  # panels, pictures, logos
        x, y = rng.integers(0, _PAGE, 2).tolist()
        width, height = rng.integers(20, 220, 2).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        shape = draw.ellipse if rng.random() < 0.4 else draw.rectangle
        shape((x, y, x + width, y + height), fill=colour)
    ink = int(rng.integers(190, 256) if dark else rng.integers(0, 90))
    line, size = int(rng.integers(10, 30)), int(rng.integers(3, 10))
    for y in range(20, _PAGE - 20, line):
        if rng.random() < 0.8:
            _draw_line(draw, y, size, (ink, ink, ink), rng)
    return torch.from_numpy(np.asarray(page).copy()).permute(2, 0, 1).contiguous()


def _draw_line(
    draw: ImageDraw.ImageDraw,
    y: int,
    size: int,
    ink: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """Draw words as rows of strokes."""
    x = 24
    while x < _PAGE - 24:
        for _ in range(rng.integers(2, 9)):
            draw.line((x, y, x + size // 3, y + size), fill=ink, width=max(1, size // 4))
            x += size // 2 + 2
        x += size
        if rng.random() < 0.05:
            return


def to_gray(colours: Tensor, axis: int) -> Tensor:
    """Replace the three channels along an axis by their luma."""
    weights = torch.from_numpy(LUMA).float()
    shape = [1] * colours.dim()
    shape[axis] = 3
    return (colours * weights.view(shape)).sum(dim=axis, keepdim=True).expand_as(colours)


def resize_square(image: Tensor, size: int, *, antialias: bool) -> Tensor:
    """Resample (C, H, W) bilinearly to a square (C, size, size) of the same dtype."""
    return _resize(image, size, size, antialias=antialias)


def pixel_indices(count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Draw `count` flat indices, int64, into a square image of `size` pixels a side."""
    return torch.from_numpy(rng.integers(size * size, size=count))


def places_of(indices: Tensor, size: int) -> Tensor:
    """Return x and y in 0..1 of the middles of pixels, given by flat indices (...): (..., 2)."""
    places = torch.stack((indices % size, indices.div(size, rounding_mode="floor")), dim=-1)
    return (places + 0.5) / size


def colours_at(image: Tensor, indices: Tensor) -> Tensor:
    """Read an image (3, H, W) at flat indices (P,): colours (P, 3)."""
    return image.flatten(1)[:, indices].T


def _resize(image: Tensor, height: int, width: int, *, antialias: bool) -> Tensor:
    return functional.interpolate(
        image[None], (height, width), mode="bilinear", align_corners=False, antialias=antialias
    )[0]


LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_LEVELS = np.linspace(0.0, 1.0, 256)

Range = tuple[float, float]

Damage = Callable[[Tensor], Tensor]
"""Maps pixels uint8 (3, H, W) to float32 in 0..1, rounded to 8-bit levels."""


class DegradeConfig(BaseModel):
    """The distribution of damage. Ranges are sampled uniformly.

    Attributes:
        untouched: share of photographs that are not damaged.
        probability: of each kind of damage, independently; below 1 single kinds occur, too.
        flattening: strength of the inverse of a camera's tone curve, in 0..1; makes photographs
            look like raw renderings.
        exposure: stops, in linear light.
        shoulder: probability that over-exposure rolls off to white instead of clipping.
        white_balance: standard deviation of each channel's own exposure, in stops.
        temperature: stops by which red is raised and blue lowered, as warm light does, or the
            other way round, as cold light does.
        brightness: factor on the coded values.
        gamma: exponent of the coded values; above 1 darkens the midtones.
        contrast: factor about the pivot.
        pivot: the coded value that contrast leaves as it is.
        saturation: factor about the luma.
        hue: standard deviation of a rotation about the gray axis, in degrees.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    untouched: float = Field(default=0.0, ge=0, le=1)
    probability: float = Field(default=1.0, ge=0, le=1)
    flattening: Range = (0.0, 0.0)
    exposure: Range = (0.0, 0.0)
    shoulder: float = Field(default=0.0, ge=0, le=1)
    white_balance: float = 0.0
    temperature: Range = (0.0, 0.0)
    brightness: Range = (1.0, 1.0)
    gamma: Range = (1.0, 1.0)
    contrast: Range = (1.0, 1.0)
    pivot: Range = (0.5, 0.5)
    saturation: Range = (1.0, 1.0)
    hue: float = 0.0


@dataclass(frozen=True, eq=False)
class Degradation:
    """One damage, for 8-bit pixels: a curve for each channel, then a mix of the channels.

    Attributes:
        curves: float32 (3, 256), the value in 0..1 of each level of each channel.
        mix: float32 (3, 3), applied to colours after the curves.
    """

    curves: Tensor
    mix: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """Degrade pixels uint8 (3, H, W) to float32 in 0..1, rounded to 8-bit levels."""
        curved = self.curves.gather(1, pixels.flatten(1).long())
        mixed = (self.mix @ curved).view(pixels.shape).clamp(0.0, 1.0)
        return mixed.mul(255.0).round().div(255.0)


def make_degradation(
    *,
    flattening: float = 0.0,
    stops: float | tuple[float, float, float] = 0.0,
    shoulder: bool = False,
    brightness: float = 1.0,
    gamma: float = 1.0,
    contrast: float = 1.0,
    pivot: float = 0.5,
    saturation: float = 1.0,
    hue: float = 0.0,
) -> Degradation:
    """Make one damage; see `DegradeConfig`. `stops` may differ between red, green and blue."""
    flat = _LEVELS + flattening * (_inverse_smoothstep(_LEVELS) - _LEVELS)
    light = decode_srgb(flat) * 2.0 ** np.broadcast_to(stops, 3)[:, None]
    exposed = encode_srgb(_roll_off(light) if shoulder else np.minimum(light, 1.0))
    toned = (exposed * brightness) ** gamma
    contrasted = pivot + (toned - pivot) * contrast
    return Degradation(
        torch.from_numpy(contrasted.clip(0.0, 1.0)).float(),
        torch.from_numpy(_mix(saturation, np.radians(hue))).float(),
    )


def random_degradation(config: DegradeConfig, rng: np.random.Generator) -> Degradation:
    """Draw a damage from a distribution."""
    if rng.random() < config.untouched:
        return UNTOUCHED

    def occurs() -> bool:
        return bool(rng.random() < config.probability)

    def uniform(limits: Range, neutral: float) -> float:
        return float(rng.uniform(*limits)) if occurs() else neutral

    stops = np.full(3, uniform(config.exposure, 0.0))
    if occurs():
        stops = stops + rng.normal(0.0, config.white_balance, 3)
    if any(config.temperature) and occurs():
        warmth = rng.uniform(*config.temperature) * rng.choice((-1.0, 1.0))
        stops = stops + warmth * np.array([1.0, 0.0, -1.0])
    return make_degradation(
        flattening=uniform(config.flattening, 0.0),
        stops=tuple(stops),
        shoulder=bool(rng.random() < config.shoulder),
        brightness=uniform(config.brightness, 1.0),
        gamma=uniform(config.gamma, 1.0),
        contrast=uniform(config.contrast, 1.0),
        pivot=float(rng.uniform(*config.pivot)),
        saturation=uniform(config.saturation, 1.0),
        hue=rng.normal(0.0, config.hue) if occurs() else 0.0,
    )


def _mix(saturation: float, angle: float) -> NDArray[np.float64]:
    """Scale the chromatic part of a colour and rotate it about the gray axis: (3, 3)."""
    gray = np.tile(LUMA, (3, 1))
    across = np.cross(np.eye(3), np.full(3, 3**-0.5))  # Rodrigues' rotation formula
    turned = np.eye(3) * np.cos(angle) + across * np.sin(angle) + (1.0 - np.cos(angle)) / 3.0
    mix: NDArray[np.float64] = gray + saturation * turned @ (np.eye(3) - gray)
    return mix


def _inverse_smoothstep(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo a typical tone curve 3 x^2 - 2 x^3 (Brooks et al., "Unprocessing", CVPR 2019)."""
    return 0.5 - np.sin(np.arcsin(1.0 - 2.0 * coded) / 3.0)


def _roll_off(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave light below a half as it is and bend the rest towards 1, smoothly."""
    return np.where(light <= 0.5, light, 1.0 - 0.5 * np.exp(1.0 - 2.0 * light))


def decode_srgb(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decode sRGB (IEC 61966-2-1)."""
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Encode sRGB, the inverse of `decode_srgb`."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def clipped_share(image: Tensor) -> float:
    """Return the share of pixels of uint8 (3, H, W) that have a channel within 2 of an end."""
    return float(((image <= 2) | (image >= 253)).any(dim=0).float().mean())


UNTOUCHED = make_degradation()
