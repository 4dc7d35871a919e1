"""SVDLUT: pairs of colours in 2D LUTs, each the product of a singular value decomposition.

Kim, Lee and Cho, "Lightweight and Fast Real-time Image Enhancement via Decomposition of the
Spatial-aware Lookup Tables", ICCV 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import Backbone, Checkpoint, LutBatch, Network, identity_table
from app.networks.lut_ops import apply_guard

_WIDTHS = (8, 16, 32, 64, 64)
_FEATURES = 256
_PAIRS = 3  # (r, g), (r, b), (g, b)
_GRIDS = 6  # two for each output channel, each with the planes (x, y), (x, c), (y, c)
# In the order of the parts of a code.
_HEADS = ("gen_2d_lut", "gen_2d_lut_weight_bias", "gen_2d_bilateral", "gen_2d_grid_weight_bias")


class SvdLut(Network):
    """Sums of 2D tables over pairs of channels, and of a curve over the own channel.

        out_c = T_rg(r, g) + T_rb(r, b) + T_gb(g, b) + curve_c(own) + bias, each T = U diag(S) V

    The bilateral grids are read at x = y = 0, see `LutWithBGrid`: what is left of them is a
    constant and a curve, and the network is a global LUT, exact on its lattice of D points.

    A code is four times R weights: of the bases of tables, of their weights and biases, of
    grids, and of theirs.

    Args:
        r: R, the length of each of the four parts of a code.
        k: K, the number of singular values of a table.
        v: V, the number of vertices of a curve; D - 1 is a multiple of V - 1.
        d: D, the number of vertices of the tables.
        guard: see `apply_guard`.
    """

    architecture = "svdlut"
    lattice: Tensor

    def __init__(
        self, r: int = 8, k: int = 8, v: int = 17, d: int = 33, guard: float = 0.2
    ) -> None:
        super().__init__(code_size=4 * r, r=r, k=k, v=v, d=d, guard=guard)
        self.r, self.k, self.v, self.d, self.guard = r, k, v, d, guard
        self.trunk = Backbone(_WIDTHS)
        self.weights = nn.Linear(_FEATURES, 4 * r)
        self.tables = nn.Linear(r, 3 * _PAIRS * (2 * d * k + k))
        self.table_weights = nn.Linear(r, 3 * (_PAIRS + 1))
        self.grids = nn.Linear(r, _GRIDS * 3 * v)  # of each plane the line at x = 0 or y = 0
        self.grid_weights = nn.Linear(r, _GRIDS * 4)
        self.register_buffer("lattice", identity_table(d), persistent=False)

    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, 64, 8, 8) to codes (B, 4 R)."""
        pooled = functional.avg_pool2d(features, 5, stride=2).flatten(1)
        codes: Tensor = self.weights(pooled)
        return codes

    def decode(self, codes: Tensor) -> LutBatch:
        """Rebuild the tables (B, 3, D, D, D) of codes (B, 4 R)."""
        tables, table_weights, grids, grid_weights = codes.view(-1, 4, self.r).unbind(1)
        weights = self.table_weights(table_weights).view(-1, 3, _PAIRS + 1)
        pairs = self._products(tables) * weights[..., :_PAIRS, None, None]
        # (B, 3, D, D) each, the second colour of the pair first; axes of the sum [c][b][g][r]
        red_green, red_blue, green_blue = pairs.unbind(2)
        table = red_green[:, :, None] + red_blue[:, :, :, None] + green_blue[..., None]
        curves = self._curves(grids, grid_weights) + weights[..., _PAIRS:]  # (B, 3, D)
        red, green, blue = curves.unbind(1)
        own = torch.stack(
            (
                red[:, None, None, :].expand_as(table[:, 0]),
                green[:, None, :, None].expand_as(table[:, 0]),
                blue[:, :, None, None].expand_as(table[:, 0]),
            ),
            dim=1,
        )
        return LutBatch(apply_guard(table + own, self.lattice, self.guard))

    def _products(self, codes: Tensor) -> Tensor:
        """Compute U diag(S) V of each output channel and pair: (B, R) -> (B, 3, 3, D, D)."""
        factors = self.tables(codes).view(-1, 3, _PAIRS, 2 * self.d * self.k + self.k)
        size = self.d * self.k
        left, values, right = factors.split((size, self.k, size), dim=3)
        left = left.unflatten(3, (self.d, self.k)) * values[..., None, :]
        product: Tensor = left @ right.unflatten(3, (self.k, self.d))
        return product

    def _curves(self, grids: Tensor, weights: Tensor) -> Tensor:
        """Compute the curves that the grids add to each channel: (B, R), (B, R) -> (B, 3, D)."""
        lines = self.grids(grids).view(-1, _GRIDS, 3, self.v)
        # The published layout: two rows of 9 weights | 3 biases, each read flat over the grids.
        parts = self.grid_weights(weights).view(-1, 2, 12)
        scale = parts[..., :9].reshape(-1, _GRIDS, 3, 1)
        bias = parts[..., 9:].reshape(-1, _GRIDS, 1)
        curves = ((lines * scale).sum(dim=2) + bias).unflatten(1, (3, 2)).sum(dim=2)  # (B, 3, V)
        return functional.interpolate(curves, self.d, mode="linear", align_corners=True)

    @classmethod
    def from_checkpoint(cls, state: Checkpoint) -> SvdLut:
        """Read the authors' checkpoint.

        Raises:
            BadModel: a tensor is missing, left over or of a wrong shape; the message names it.
        """
        entries, r = state.shape("gen_2d_lut.basis_luts_bank.weight", None, None)
        vertices = state.shape("gen_2d_bilateral.basis_grids_bank.weight", None, r)[0]
        v = round((vertices / (_GRIDS * 3)) ** 0.5)
        d = 2 * v - 1
        k = entries // (3 * _PAIRS * (2 * d + 1))
        network = cls(r, k, v, d)
        grids = state.take("gen_2d_bilateral.basis_grids_bank.weight", vertices, r)
        bias = state.take("gen_2d_bilateral.basis_grids_bank.bias", vertices)
        banks = {
            "tables": ("gen_2d_lut.basis_luts_bank", network.tables),
            "table_weights": ("gen_2d_lut_weight_bias.basis_luts_bank", network.table_weights),
            "grid_weights": ("gen_2d_grid_weight_bias.basis_luts_bank", network.grid_weights),
        }
        heads = [f"{head}.weights_generator" for head in _HEADS]
        network.load_state_dict(
            state.take_backbone(network.trunk, lambda layer: f"backbone.model.{layer + 1}")
            | {
                "weights.weight": torch.cat(
                    [state.take(f"{head}.weight", r, _FEATURES) for head in heads]
                ),
                "weights.bias": torch.cat([state.take(f"{head}.bias", r) for head in heads]),
                "grids.weight": _lines(grids, v),
                "grids.bias": _lines(bias, v).flatten(),
            }
            | {
                f"{own}.{kind}": state.take(f"{name}.{kind}", *getattr(layer, kind).shape)
                for own, (name, layer) in banks.items()
                for kind in ("weight", "bias")
            }
        )
        state.finish()
        return network


def _lines(bank: Tensor, v: int) -> Tensor:
    """Take the cells that are read at x = y = 0 from grids (6 * 3 * V * V, ...): (6 * 3 * V, ...).

    A plane's first axis is the channel, or y in the plane (x, y), whose line is constant.
    """
    lines = bank.view(_GRIDS, 3, v, v, -1)[:, :, :, 0].clone()
    lines[:, 0] = lines[:, 0, :1]
    return lines.reshape(_GRIDS * 3 * v, -1)
