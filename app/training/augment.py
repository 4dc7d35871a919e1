"""Random views of photographs, drawn pages, thumbnails and the pixels of a loss."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from app.training.degrade import LUMA

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

    After CutMix (Yun et al., ICCV 2019): with few photographs the network would learn them by
    heart.
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


def colours_at(image: Tensor, indices: Tensor) -> Tensor:
    """Read an image (3, H, W) at flat indices (P,): colours (P, 3)."""
    return image.flatten(1)[:, indices].T


def _resize(image: Tensor, height: int, width: int, *, antialias: bool) -> Tensor:
    return functional.interpolate(
        image[None], (height, width), mode="bilinear", align_corners=False, antialias=antialias
    )[0]
