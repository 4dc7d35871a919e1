"""Several 3D LUTs, mixed anew at each pixel by a map of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.luts.lut3d import Interpolation, Lut3D
from app.luts.lut_error import ErrorStats

AnyLut: TypeAlias = "Lut3D | LocalLut"

LUMA = np.array([77, 150, 29])  # in 256ths: about ITU-R BT.601
LUMA_ONE = 256
MAX_TABLES = 16


class Places(NamedTuple):
    """Where pixels (H, W, 3) lie in their image.

    Attributes:
        x: float64 (H, W), or (1, W) for all rows: 0 is the left edge of the image, 1 the right.
        y: float64 (H,): 0 is the upper edge, 1 the lower.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @classmethod
    def of_image(cls, height: int, width: int) -> Places:
        """Return the places of the middles of the pixels of an image."""
        return cls((np.arange(width)[None] + 0.5) / width, (np.arange(height) + 0.5) / height)

    def rows(self, top: int, bottom: int) -> Places:
        """Return the places of some of the rows."""
        return Places(self.x if len(self.x) == 1 else self.x[top:bottom], self.y[top:bottom])

    @classmethod
    def of_pixels(cls, rows: NDArray[Any], columns: NDArray[Any], shape: Sequence[int]) -> Places:
        """Return the places of some pixels of an image of a shape (H, W), as a column (N, 1)."""
        return cls((columns[:, None] + 0.5) / shape[1], (rows + 0.5) / shape[0])


@dataclass(frozen=True, eq=False)
class LocalLut:
    """K tables, and the share of each of them at each pixel of an image.

    The map is a bilateral grid (Chen, Paris and Durand, SIGGRAPH 2007): a share depends on the
    place of a pixel and on its luma, linearly between the cells. Shares therefore change along
    edges as fast as the image does, and leave no halos there.

    Attributes:
        tables: K in 2..16 LUTs of one size, without shapers.
        map: uint8 (K - 1, L, H, W), in 255ths: the shares of the tables but the first, which has
            the rest, at L levels of luma and H x W places. The first and last levels are those of
            black and white; cells of the image are equal, and hold the shares of their middles.

    Raises:
        ValueError: the tables differ, or the map does not fit.
    """

    tables: tuple[Lut3D, ...]
    map: NDArray[np.uint8]

    def __post_init__(self) -> None:
        first = self.tables[0]
        if not 2 <= len(self.tables) <= MAX_TABLES:
            raise ValueError(f"there must be 2..{MAX_TABLES} tables: {len(self.tables)}")
        if any(it.size != first.size or it.shaper is not None for it in self.tables):
            raise ValueError("the tables must have one size, and no shapers")
        if self.map.dtype != np.uint8 or self.map.ndim != 4 or 0 in self.map.shape:
            raise ValueError(f"a map must be uint8 (K - 1, L, H, W): {self.map.shape}")
        if len(self.map) != len(self.tables) - 1 or self.map.sum(axis=0, dtype=int).max() > 255:
            raise ValueError("a map must hold shares of all tables but one, of at most 1 in all")

    @property
    def size(self) -> int:
        """The number of lattice points on each axis of the tables."""
        return self.tables[0].size

    def shares(self, colours: NDArray[Any], places: Places) -> NDArray[np.float64]:
        """Return the shares (K, H, W) of the tables for colours (H, W, 3) in 0..1."""
        _, levels, height, width = self.map.shape
        luma = colours @ (LUMA / LUMA_ONE)
        shape = luma.shape
        cells = [
            _cell(luma * (levels - 1), levels),
            _cell(np.broadcast_to(places.y[:, None] * height - 0.5, shape), height),
            _cell(np.broadcast_to(places.x * width - 0.5, shape), width),
        ]
        others = np.zeros((len(self.map), *shape))
        for corner in np.ndindex(2, 2, 2):
            weight = np.ones(shape)
            index = []
            for (near, far, fraction), end in zip(cells, corner, strict=True):
                weight = weight * (fraction if end else 1.0 - fraction)
                index.append(far if end else near)
            others += weight * self.map[:, index[0], index[1], index[2]] / 255.0
        return np.concatenate(((1.0 - others.sum(axis=0, keepdims=True)).clip(0.0), others))

    def evaluate(
        self, colours: NDArray[Any], places: Places, interpolation: Interpolation = "trilinear"
    ) -> NDArray[np.float64]:
        """Interpolate colours in double precision: the reference for faster implementations.

        Args:
            colours: (H, W, 3) RGB in 0..1.
            places: of the colours.
            interpolation: see `Lut3D.evaluate`.

        Returns:
            (H, W, 3) RGB, not clamped.
        """
        outputs = np.stack([it.evaluate(colours, interpolation) for it in self.tables])
        shares = self.shares(colours, places)
        mixed: NDArray[np.float64] = np.einsum("khw,khwc->hwc", shares, outputs)
        return mixed

    @property
    def nbytes(self) -> int:
        """The bytes of memory of the tables."""
        return sum(it.nbytes for it in self.tables)

    def at_strength(self, strength: float) -> LocalLut:
        """Blend with the identity, as `Lut3D.at_strength`."""
        return replace(self, tables=tuple(it.at_strength(strength) for it in self.tables))

    def flatten(self) -> Lut3D:
        """Return the one table that is nearest to this LUT over all places.

        A colour is mapped to the mean of its outputs at all cells of the map, which has the least
        square error where the colour is equally frequent everywhere.
        """
        return Lut3D(self._mix(self._cells().mean(axis=2)).astype(np.float32))

    def flattening_error(self) -> ErrorStats:
        """Return the error of `flatten`, over the lattice colours in all cells, in 0.3 s."""
        cells = self._cells()
        mean = self._mix(cells.mean(axis=2)).clip(0.0, 1.0)
        worst, total = 0.0, 0.0
        for index in range(cells.shape[2]):
            difference = 255.0 * np.abs(self._mix(cells[..., index]).clip(0.0, 1.0) - mean)
            worst, total = max(worst, float(difference.max())), total + float(difference.mean())
        return ErrorStats(worst, total / cells.shape[2])

    def _cells(self) -> NDArray[np.float64]:
        """Return the shares (K - 1, L, H W)."""
        return self.map.reshape(*self.map.shape[:2], -1) / 255.0

    def _mix(self, cell: NDArray[Any]) -> NDArray[np.float64]:
        """Mix the tables by the shares (K - 1, L) of one place: (B, G, R, 3)."""
        lattice, levels = Lut3D.identity(self.size).table, self.map.shape[1]
        near, far, fraction = _cell(lattice @ (LUMA / LUMA_ONE) * (levels - 1), levels)
        shares = cell[:, near] * (1.0 - fraction) + cell[:, far] * fraction
        first, *others = (it.table for it in self.tables)
        table = first.astype(np.float64)
        for share, other in zip(shares, others, strict=True):
            table += share[..., None] * (other - first)
        return table


def flatten(lut: AnyLut) -> Lut3D:
    """Return a LUT that is the same everywhere; see `LocalLut.flatten`."""
    return lut if isinstance(lut, Lut3D) else lut.flatten()


def _cell(
    position: NDArray[Any], count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
    """Return the cells on both sides of positions, clamped to 0..count - 1, and the fraction."""
    position = position.clip(0, count - 1)
    near = position.astype(np.intp)
    return near, np.minimum(near + 1, count - 1), position - near
