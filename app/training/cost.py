"""What a basis of LUTs costs."""

from __future__ import annotations

from typing import NamedTuple

from app.networks.clutnet import ClutNet

_CHANNELS = 3


class Cost(NamedTuple):
    """Counts of one network.

    Attributes:
        lut_parameters: numbers learned for the basis LUTs, matrices included.
        parameters: numbers learned in all.
        multiply_adds: to mix the basis for one photo and to rebuild the table.
    """

    lut_parameters: int
    parameters: int
    multiply_adds: int


def cost(network: ClutNet, *, fixed_matrices: bool = False) -> Cost:
    """Counts; matrices that are fixed are not learned, but multiplied by all the same."""
    matrices = sum(matrix.numel() for matrix in network.matrices)
    fixed = matrices if fixed_matrices else 0
    return Cost(
        lut_parameters=network.psi.numel() + matrices - fixed,
        parameters=sum(it.numel() for it in network.parameters()) - fixed,
        multiply_adds=multiply_adds(network.n, network.s, network.w, network.d),
    )


def multiply_adds(n: int, s: int | None, w: int | None, d: int) -> int:
    """Fusing while compressed, then rebuilding: 3 (N S W + S W D^2 + S D^3).

    An axis that is not compressed has D or D^2 in the place of S or W, and no term of its own:
    plain LUTs come to 3 N D^3. Zhang et al., "CLUT-Net", ACM MM 2022, count the same.
    """
    rows, columns = s or d, w or d**2
    fuse = n * rows * columns
    weak = rows * w * d**2 if w else 0
    strong = d * s * d**2 if s else 0
    return _CHANNELS * (fuse + weak + strong)
