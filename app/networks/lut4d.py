"""4D-LUT: tables with a fourth axis, the context of a pixel.

Liu et al., "4D LUT: Learnable Context-Aware 4D Lookup Table for Image Enhancement", TIP 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from app.networks.slut import DEEP, Slut

SLICES = 2  # of the context: at 0 and at 1


class Lut4D(Slut):
    """Two slices of the context axis, each mixed of N basis LUTs whose channels mix as well.

    T_k[c] = identity[c] + sum over n and c' of a[c, n, c'] phi_(n,k)[c'] + b[c]; a pixel of the
    context C becomes (1 - C) T_0 + C T_1, interpolated in all four axes. A code is 9 N weights a
    and 3 biases b, then the map of the context. The paper has N = 3.

    The paper's encoder computes the context at full size. Here the thumbnail gives it, as a
    bilateral grid; see `Slut`. The basis is compressed as in CLUT-Net; without S and W it is not.

    Args:
        n: N, the number of basis LUTs.
        s: S, as in `ClutNet`.
        w: W, as in `ClutNet`.
        d: D, as in `ClutNet`.
        colours: as in `ClutNet`.
        levels: L, as in `Slut`.
        width: as in `Slut`.
    """

    architecture = "lut4d"

    def __init__(
        self,
        n: int,
        s: int | None,
        w: int | None,
        d: int = 33,
        colours: int = 0,
        levels: int = 8,
        width: int = 48,
    ) -> None:
        super().__init__(n, SLICES, s, w, d, colours, levels, width)
        self.hparams = {"n": n, "s": s, "w": w, "d": d, "colours": colours}
        self.hparams |= {"levels": levels, "width": width}
        self.code_size = 9 * n + 3
        self.head = nn.Sequential(
            nn.Linear(DEEP + colours, 128), nn.Hardswish(), nn.Linear(128, self.code_size)
        )

    @property
    def last_scene(self) -> tuple[int, ...]:
        """The indices of the weights by which the last basis LUT keeps its channels."""
        return tuple(3 * (self.n * c + self.n - 1) + c for c in range(3))

    def _tables(self, weights: Tensor) -> Tensor:
        """Mix the basis: weights (B, 9 N + 3) -> (B, 6, D, D, D)."""
        mix, bias = weights[:, :-3].view(-1, 3, self.n, 3), weights[:, -3:]
        basis = self.basis().view(self.n, SLICES, *self.identity.shape)
        mixed = torch.einsum("bcnd,nkdzyx->bkczyx", mix, basis)
        tables = self.identity + mixed + bias[:, None, :, None, None, None]
        return tables.flatten(1, 2)
