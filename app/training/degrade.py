"""Photos made worse at random, as a camera or a careless hand would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_LEVELS = np.linspace(0.0, 1.0, 256)

Range = tuple[float, float]


class DegradeConfig(BaseModel):
    """How bad it may get. What is a range is drawn uniformly from it.

    Attributes:
        untouched: the share of photos that are left as they are.
        exposure: stops, in linear light.
        white_balance: standard deviation of each channel's own exposure, in stops.
        brightness: factor on the coded values.
        contrast: factor about mid gray.
        saturation: factor about the luma.
        hue: standard deviation of a turn about the gray axis, in degrees.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    untouched: float = 0.0
    exposure: Range = (0.0, 0.0)
    white_balance: float = 0.0
    brightness: Range = (1.0, 1.0)
    contrast: Range = (1.0, 1.0)
    saturation: Range = (1.0, 1.0)
    hue: float = 0.0


@dataclass(frozen=True, eq=False)
class Degradation:
    """One way of making a photo worse.

    All but the colours works on single channels of 8 bits, so it is one table look-up.

    Attributes:
        curves: float32 (3, 256), what each level of each channel becomes, in 0..1.
        mix: float32 (3, 3), what becomes of a colour after that.
    """

    curves: Tensor
    mix: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """Degrades pixels uint8 (3, H, W) to float32 in 0..1, on whole 8-bit levels."""
        curved = self.curves.gather(1, pixels.flatten(1).long())
        mixed = (self.mix @ curved).view(pixels.shape).clamp(0.0, 1.0)
        return mixed.mul(255.0).round().div(255.0)


UNTOUCHED = Degradation(torch.from_numpy(_LEVELS).float().expand(3, -1), mix=torch.eye(3))


def random_degradation(config: DegradeConfig, rng: np.random.Generator) -> Degradation:
    """Draws one."""
    if rng.random() < config.untouched:
        return UNTOUCHED
    stops = rng.uniform(*config.exposure) + rng.normal(0.0, config.white_balance, (3, 1))
    exposed = _coded(np.minimum(_linear(_LEVELS) * 2.0**stops, 1.0))
    brightened = exposed * rng.uniform(*config.brightness)
    contrasted = 0.5 + (brightened - 0.5) * rng.uniform(*config.contrast)
    curves = torch.from_numpy(contrasted.clip(0.0, 1.0)).float()
    mix = _mix(rng.uniform(*config.saturation), np.radians(rng.normal(0.0, config.hue)))
    return Degradation(curves, torch.from_numpy(mix).float())


def _mix(saturation: float, turn: float) -> NDArray[np.float64]:
    """(3, 3): what is colourful about a colour is turned about the gray axis, and scaled."""
    gray = np.tile(LUMA, (3, 1))
    across = np.cross(np.eye(3), np.full(3, 3**-0.5))  # Rodrigues' rotation formula
    turned = np.eye(3) * np.cos(turn) + across * np.sin(turn) + (1.0 - np.cos(turn)) / 3.0
    mix: NDArray[np.float64] = gray + saturation * turned @ (np.eye(3) - gray)
    return mix


def _linear(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sRGB decoding of IEC 61966-2-1."""
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def _coded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `_linear`."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
