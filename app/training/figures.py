"""Figures of a trained CLUT-Net: the effects of its basis LUTs, and on which photographs.

All are readable in grayscale. The first two show what the paper compresses (Zhang et al., ACM MM
2022, section 3.2): each output channel follows its own input channel closely, and hardly depends
on the two others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from app.errors import BadParameter
from app.imaging.resize import make_thumbnail
from app.networks.clutnet import ClutNet
from app.networks.store import Model
from app.training.data import read_photo, spread
from app.training.ensemble import Ensemble
from app.training.evaluation import contact_sheet, enhance

Array = NDArray[np.floating[Any]]

_STYLE: Any = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": "gray",
    "figure.constrained_layout.use": True,
    "figure.dpi": 120.0,
}
_CHANNELS = ("red", "green", "blue")
_SHOWN = 5  # basis LUTs
_SHEET = 8  # photographs
_AMPLIFIED = 4  # differences in the sheet


def draw_figures(model: Model, files: Sequence[Path], folder: Path) -> list[Path]:
    """Draw all figures of a model into a folder.

    Args:
        model: a CLUT-Net.
        files: photographs; all are looked at, and some of them are in the sheet.
        folder: for `correlation.png`, `basis.png`, `weights.png` and `sheet.jpg`.

    Returns:
        The files written.

    Raises:
        BadParameter: the model is of another architecture.
        Problem: a photograph cannot be read.
    """
    network = model.network
    if not isinstance(network, ClutNet) or network.is_local:
        raise BadParameter(f"{model.card.model_ref} is no CLUT-Net: it has no compressed basis")
    photos = [read_photo(file) for file in files]
    weights = _predict(model, photos)
    luts = _typical(network, weights)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(_STYLE):
        for name, figure in (
            ("correlation.png", _draw_correlation(luts)),
            ("basis.png", _draw_basis(luts)),
            ("weights.png", _draw_weights(weights, photos)),
        ):
            written.append(folder / name)
            figure.savefig(written[-1])
    written.append(folder / "sheet.jpg")
    _make_sheet(model, spread(photos, _SHEET)).save(written[-1], quality=88)
    return written


@torch.no_grad()
def _predict(model: Model, photos: Sequence[NDArray[np.uint8]]) -> Array:
    """Return the basis weights of photographs: (P, N)."""
    recipe = model.card.thumbnail
    codes = []
    for pixels in photos:
        thumbnail = make_thumbnail(pixels, recipe.size, recipe.antialias)
        codes.append(model.network.encode(torch.from_numpy(thumbnail)[None]))
    weights: Array = torch.cat(codes).numpy()
    return weights


@torch.no_grad()
def _typical(network: ClutNet, weights: Array) -> dict[int, Array]:
    """Return the residuals of the basis LUTs that matter most, each by its typical weight.

    Returns:
        (3, D, D, D) by the number of the LUT, axes [channel][b][g][r], the strongest first.
    """
    sizes = np.sqrt(np.square(weights).mean(axis=0))
    scaled = network.basis().numpy() * sizes[:, None, None, None, None]
    strength = np.sqrt(np.square(scaled).mean(axis=(1, 2, 3, 4)))
    return {int(n): scaled[n] for n in np.argsort(-strength)[:_SHOWN]}


def _draw_correlation(luts: dict[int, Array]) -> Figure:
    """Plot what LUTs add to red against each input channel, for some values of the two others."""
    figure = Figure(figsize=(8.0, 5.2))
    grid = figure.subplots(3, len(luts), sharex=True, sharey="col", squeeze=False)
    for column, (number, residual) in enumerate(luts.items()):
        added = residual[0]  # [b][g][r]
        size = len(added)
        ramp = np.linspace(0.0, 1.0, size)
        for row, name in enumerate(_CHANNELS):
            axes, own = grid[row, column], np.moveaxis(added, 2 - row, 2)
            lines = own[:: size // 4, :: size // 4].reshape(-1, size)
            axes.plot(ramp, lines.T, color="black", linewidth=0.5, alpha=0.6)
            axes.set_title(f"explains {_explained(own):.0%}")
            if column == 0:
                axes.set_ylabel(f"added to red, {name} in")
            if row == 2:
                axes.set_xlabel(f"basis LUT {number}")
    figure.suptitle("What is added to red follows red (top) more than green and blue")
    return figure


def _explained(values: Array) -> float:
    """Return the share of the variance of values (D, D, D) that the last axis alone explains."""
    return float(values.mean(axis=(0, 1)).var() / values.var())


def _draw_basis(luts: dict[int, Array]) -> Figure:
    """Plot the residuals of each channel as surfaces over its two other inputs."""
    figure = Figure(figsize=(8.0, 5.0))
    largest = max(float(np.abs(residual).max()) for residual in luts.values())
    for column, (number, residual) in enumerate(luts.items()):
        size = residual.shape[1]
        for row, name in enumerate(_CHANNELS):
            axes: Any = figure.add_subplot(
                3, len(luts), 1 + row * len(luts) + column, projection="3d"
            )
            surface = np.take(residual[row], size // 2, axis=2 - row)
            x, y = np.meshgrid(*2 * [np.linspace(0.0, 1.0, size)])
            axes.plot_surface(x, y, surface, cmap="gray", vmin=-largest, vmax=largest)
            axes.set(zlim=(-largest, largest), xticks=[], yticks=[])
            axes.set_box_aspect((1, 1, 0.7), zoom=1.2)
            axes.set_title(f"{name}, basis LUT {number}" if row == 0 else name)
    figure.suptitle("What basis LUTs add, over the two other channels, where the own one is a half")
    return figure


def _draw_weights(weights: Array, photos: Sequence[NDArray[np.uint8]]) -> Figure:
    """Show the weights of all photographs, and which property of a photograph each responds to."""
    figure = Figure(figsize=(8.0, 4.2))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    properties = _describe(photos)
    order = np.argsort(properties["brightness"])
    scale = np.abs(weights).max(axis=0, keepdims=True)
    shown = (weights / scale)[order].T
    image = left.imshow(shown, aspect="auto", vmin=-1, vmax=1, interpolation="nearest")
    for axes in (left, right):
        axes.set_yticks(range(weights.shape[1]))
    left.set(
        xlabel=f"{len(photos)} photographs, from dark to bright",
        ylabel="basis LUT",
        title="weights, each relative to its largest",
    )
    figure.colorbar(image, ax=left, location="left", shrink=0.6)
    measured = np.stack(list(properties.values()))
    joint = np.corrcoef(measured, weights.T)[: len(measured), len(measured) :]
    right.imshow(joint.T, aspect="auto", vmin=-1, vmax=1, interpolation="nearest")
    for (row, column), value in np.ndenumerate(joint.T):
        right.text(
            column, row, f"{value:.1f}", ha="center", va="center", fontsize=6,
            color="white" if value < 0 else "black",
        )  # fmt: skip
    right.set_xticks(range(len(properties)), list(properties), rotation=30, ha="right")
    right.set(title="correlation with the photograph", ylabel="basis LUT")
    return figure


def _describe(photos: Sequence[NDArray[np.uint8]]) -> dict[str, Array]:
    """Measure photographs in CIELAB: mean and spread of L*, mean chroma, means of b* and a*."""
    rows = []
    for pixels in photos:
        lightness, a, b = np.moveaxis(rgb2lab(pixels[::4, ::4]), 2, 0)
        rows.append((lightness.mean(), lightness.std(), np.hypot(a, b).mean(), b.mean(), a.mean()))
    names = ("brightness", "contrast", "colourfulness", "yellow-blue", "red-green")
    return dict(zip(names, np.array(rows).T, strict=True))


def _make_sheet(model: Model, photos: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """Lay out photograph, result and their difference from mid gray, amplified."""
    rows = []
    for pixels in photos:
        enhanced = enhance(Ensemble([model]), pixels)
        difference = enhanced.astype(np.int16) - pixels
        shown = (127 + _AMPLIFIED * difference).clip(0, 255).astype(np.uint8)
        rows.append([pixels, enhanced, shown])
    return contact_sheet(rows)
