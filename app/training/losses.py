"""The losses, each with its equation; all return a scalar.

Sources: Zeng et al., "Learning Image-adaptive 3D Lookup Tables for High Performance Photo
Enhancement in Real-time", TPAMI 2020 (smoothness and monotonicity); Zhang et al., "CLUT-Net:
Learning Adaptively Compressed Representations of 3DLUTs for Lightweight Image Enhancement",
ACM MM 2022 (L1 and cosine).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from app.luts.lut_error import SRGB_TO_XYZ, XYZ_TO_LAB

_AXES = (-3, -2, -1)  # blue, green, red
_HUELESS = 5 / 255  # colours darker than this have no angle to speak of
_HALF_LEVEL = 0.5 / 255
_MARGIN = 1.5 / 255
_RAMP_POINTS = 33


def colour_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """L1 + cosine over colours (..., 3): mean |p - t| + mean (1 - p.t / (|p| |t|)).

    A norm below 5 levels counts as 5: the angle of a colour near black would have a gradient
    without bound.
    """
    # torch's own norm takes as long, over three channels, as all the rest.
    norms = _square_norm(predictions) * _square_norm(targets)
    cosine = (predictions * targets).sum(dim=-1) * norms.rsqrt()
    return functional.l1_loss(predictions, targets) + (1.0 - cosine).mean()


def lab_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean colour difference CIE 1976 of colours (..., 3) in sRGB, over 100.

    A hundredth under the root bounds its gradient where prediction and target are equal.
    """
    squares = (_to_lab(predictions) - _to_lab(targets)).square().sum(dim=-1)
    return (squares + 0.01).sqrt().mean() / 100.0


def clipping(predictions: Tensor, targets: Tensor) -> Tensor:
    """Detail lost: mean max(0, m - p) + max(0, p - 1 + m) over samples whose target has some.

    With m, a level and a half, a prediction is not rounded to 0 or 255; a target has
    detail where it is rounded to neither.
    """
    lost = functional.relu(_MARGIN - predictions) + functional.relu(predictions - (1.0 - _MARGIN))
    return (lost * ((targets >= _HALF_LEVEL) & (targets <= 1.0 - _HALF_LEVEL))).mean()


def smoothness(tables: Tensor) -> Tensor:
    """Total variation of tables (..., D, D, D): the sum over the axes of mean w (t' - t)^2.

    t' is the next entry along the axis; w is 2 for the first and the last step, where photos
    have few colours to learn from, and 1 elsewhere.
    """
    return _sum_of_means(weight * step.square() for step, weight in _steps(tables))


def monotonicity(tables: Tensor) -> Tensor:
    """Falls in tables (..., D, D, D): the sum over the axes of mean (w max(0, t - t'))^2.

    t' and w are as in `smoothness`.
    """
    falls = (weight * functional.relu(-step) for step, weight in _steps(tables))
    return _sum_of_means(fall.square() for fall in falls)


def curvature_loss(tables: Tensor) -> Tensor:
    """Curvature of tables (..., D, D, D): the sum over the axes of mean (t'' - 2 t' + t)^2.

    Unlike `smoothness` it leaves straight ramps alone, however steep. Its aim is bands.
    """
    return _sum_of_means(tables.diff(n=2, dim=axis).square() for axis in _AXES)


def excess_variation(lines: Tensor) -> Tensor:
    """Ways there and back along lines (..., L, 3): mean (sum_i |c[i+1] - c[i]| - |c[L] - c[1]|).

    It is zero where each channel only rises or only falls along a line, whichever it does.
    """
    variation = lines.diff(dim=-2).abs().sum(dim=-2)
    change = (lines[..., -1, :] - lines[..., 0, :]).abs()
    return (variation - change).mean()


def ramps(seed: int, inner: int = 36) -> Tensor:
    """Make ramps between any two corners of the colour cube, and `inner` random ones inside it.

    The first 28 are all edges and diagonals, of the faces and of the cube: to and from black,
    white and each pure colour.

    Returns:
        float32 (28 + inner, 33, 3) in 0..1.
    """
    corners = np.array(list(combinations(product((0.0, 1.0), repeat=3), 2)))  # (28, 2, 3)
    ends = np.concatenate((corners, np.random.default_rng(seed).random((inner, 2, 3))))
    return torch.from_numpy(np.linspace(ends[:, 0], ends[:, 1], _RAMP_POINTS, axis=1)).float()


def _square_norm(colours: Tensor) -> Tensor:
    return colours.square().sum(dim=-1).clamp(min=_HUELESS**2)


def _to_lab(colours: Tensor) -> Tensor:
    """Convert sRGB (..., 3), clamped to 0..1, to CIELAB of the white point D65."""
    coded = colours.clamp(0.0, 1.0)
    linear = torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    xyz = linear @ linear.new_tensor(SRGB_TO_XYZ).T
    roots = xyz.clamp(min=216 / 24389) ** (1 / 3)
    roots = torch.where(xyz > 216 / 24389, roots, xyz * (841 / 108) + 4 / 29)
    return roots @ roots.new_tensor(XYZ_TO_LAB).T  # lightness without its offset of -16


def _steps(tables: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Compute the first differences along each axis, and their weights."""
    for axis in _AXES:
        step = tables.diff(dim=axis)
        weight = torch.ones(step.shape[axis])
        weight[[0, -1]] = 2.0
        yield step, weight.view(-1, *[1] * (-1 - axis))


def _sum_of_means(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack([term.mean() for term in terms]).sum()
