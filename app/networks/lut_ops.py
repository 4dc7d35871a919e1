"""LUT interpolation in torch: differentiable for training, and for pixels on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from app.networks.base import LutBatch, identity_table


def trilinear(tables: LutBatch, colours: Tensor) -> Tensor:
    """Interpolate colours trilinearly.

    Args:
        tables: a batch of B LUTs.
        colours: float32 (B, P, 3), RGB in 0..1.

    Returns:
        float32 (B, P, 3K), not clamped: the output of each of the K tables;
        differentiable in the tables.
    """
    shaped = _apply_shaper(tables.shaper, colours)
    grid = shaped[:, None, None] * 2.0 - 1.0  # (B, 1, 1, P, 3): grid_sample's x, y, z = r, g, b
    sampled = functional.grid_sample(
        tables.table, grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[:, :, 0, 0].transpose(1, 2)


LUMA = (77 / 256, 150 / 256, 29 / 256)  # about ITU-R BT.601, in fractions that integers hold


def apply_local(tables: LutBatch, colours: Tensor, places: Tensor) -> Tensor:
    """Interpolate colours trilinearly in K tables, and mix the results by the maps.

    A map is a bilateral grid (Chen, Paris and Durand, SIGGRAPH 2007): its weights are interpolated
    linearly over the place and the luma of a pixel, so they change at edges of the image at once.

    Args:
        tables: a batch of B LUTs; those without maps have one table, whatever the place.
        colours: float32 (B, P, 3), RGB in 0..1.
        places: float32 (B, P, 2), x and y in 0..1 from the left and top edge of the image.

    Returns:
        float32 (B, P, 3), not clamped; differentiable in the tables and the maps.
    """
    outputs = trilinear(tables, colours)
    if tables.maps is None:
        return outputs
    levels = tables.maps.shape[2]
    luma = (colours * colours.new_tensor(LUMA)).sum(dim=2, keepdim=True)
    # Of the levels the first and last lie at 0 and 1; of places, the edges of the cells do.
    depth = (luma * (levels - 1) + 0.5) / levels
    grid = torch.cat((places, depth), dim=2)[:, None, None] * 2.0 - 1.0
    weights = functional.grid_sample(
        tables.maps, grid, mode="bilinear", padding_mode="border", align_corners=False
    )[:, :, 0, 0].transpose(1, 2)  # (B, P, K - 1)
    first, *others = torch.split(outputs, 3, dim=2)
    mixed: Tensor = first
    for index, other in enumerate(others):
        mixed = mixed + weights[..., index : index + 1] * (other - first)
    return mixed


def tables_at(tables: LutBatch, places: Tensor) -> Tensor:
    """Mix the tables of each image as they are mixed at one place of it.

    Args:
        tables: a batch of B LUTs.
        places: float32 (B, 2), as in `apply_local`.

    Returns:
        float32 (B, 3, D, D, D); exact at the lattice points.
    """
    if tables.maps is None:
        return tables.table
    lattice = identity_table(tables.table.shape[-1]).to(places.device)
    batch, size = len(places), lattice.shape[1]
    points = lattice.flatten(1).T.expand(batch, -1, -1)
    everywhere = places[:, None].expand(-1, points.shape[1], -1)
    mixed = apply_local(tables, points, everywhere)
    return mixed.transpose(1, 2).reshape(batch, 3, size, size, size)


def tetrahedral(tables: LutBatch, colours: Tensor) -> Tensor:
    """Interpolate colours tetrahedrally; shapes as in `trilinear`.

    The cell is cut into six tetrahedra along its gray diagonal. A path from the dark corner of the
    cell follows the axes in the order of falling fraction. The differences of the sorted fractions
    are the weights of the four corners on the path.
    """
    batch, _, size = tables.table.shape[:3]
    position = _apply_shaper(tables.shaper, colours) * (size - 1)
    cell = position.floor().clamp(max=size - 2)
    fraction, order = (position - cell).sort(dim=2, descending=True)
    strides = torch.tensor([1, size, size * size], device=colours.device)  # r, g, b
    flat = tables.table.flatten(2)  # (B, 3, D^3)
    corner = (cell.long() * strides).sum(dim=2)  # (B, P)
    weight = 1.0 - fraction[..., 0]
    mixed = torch.zeros_like(colours)
    for step in range(4):
        entry = flat.gather(2, corner[:, None].expand(batch, 3, -1)).transpose(1, 2)
        mixed = mixed + weight[..., None] * entry
        if step < 3:
            corner = corner + strides[order[..., step]]
            following = fraction[..., step + 1] if step < 2 else 0.0
            weight = fraction[..., step] - following
    return mixed


def apply_guard(tables: Tensor, lattice: Tensor, guard: float) -> Tensor:
    """Keep detail in shadows and highlights: y' = min(max(y, a x), 1 - a (1 - x)).

    No channel falls below `guard` times its input, or rises above the mirror of that. With a
    guard of 0 the tables are returned unchanged.

    Args:
        tables: float32 (B, 3, D, D, D), absolute, axes [channel][b][g][r].
        lattice: float32 (3, D, D, D), the identity table.
        guard: a, in 0..1.
    """
    if not guard:
        return tables
    lowest = guard * lattice
    return tables.maximum(lowest).minimum(lowest + (1.0 - guard))


def apply_curves(curves: Tensor, colours: Tensor) -> Tensor:
    """Look each channel of colours (B, P, 3) up in its curve of (B, 3, M), linearly, unclamped."""
    last = curves.shape[2] - 1
    position = (colours * last).transpose(1, 2)  # (B, 3, P)
    left = position.floor().clamp(max=last - 1)
    low = curves.gather(2, left.long())
    high = curves.gather(2, left.long() + 1)
    return torch.lerp(low, high, position - left).transpose(1, 2)


def _apply_shaper(shaper: Tensor | None, colours: Tensor) -> Tensor:
    """Map each channel of (B, P, 3) by its curve of (B, 3, M), and clamp to 0..1."""
    colours = colours.clamp(0.0, 1.0)
    return colours if shaper is None else apply_curves(shaper, colours).clamp(0.0, 1.0)


def image_places(height: int, width: int) -> Tensor:
    """Return the places (x, y) in 0..1 of the pixels of an image, by rows: (1, H W, 2)."""
    y, x = ((torch.arange(size) + 0.5) / size for size in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).view(1, -1, 2)
