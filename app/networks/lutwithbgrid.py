"""LUTwithBGrid: bilateral grids of curves, a mix of all of them, then a 3D LUT.

Kim and Cho, "Image-adaptive 3D Lookup Tables for Real-time Image Enhancement with Bilateral
Grids", ECCV 2024.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import Backbone, Checkpoint, LutBatch, Network, identity_table
from app.networks.lut_ops import apply_curves, apply_guard, tetrahedral

_WIDTHS = (8, 16, 32, 64, 64)
_FEATURES = 256


class LutWithBGrid(Network):
    """Curves of each channel, mixed across the channels, before a table; one D^3 table in all.

    The released operators divide pixel coordinates as integers, so every pixel but those of the
    last row and column reads its bilateral grid at the corner (0, 0): the rest of a grid is
    a curve over intensity. The networks were trained on that, so only these curves are kept, and
    the released network is a global LUT. Its kinks lie on no lattice: with 33 points the sampled
    table is 0.3 to 0.7 levels from `transform` on average, and up to 11 at single colours.

    A code is R weights of the table's basis and R weights of the curves' basis.

    Args:
        r: R, the number of basis tables, and of basis curves.
        v: V, the number of vertices of the table before sampling, and of the curves.
        g: G, the number of curves of each channel.
        d: D, the number of lattice points on each axis of the sampled table.
        guard: see `apply_guard`.
    """

    architecture = "lutwithbgrid"
    lattice: Tensor

    def __init__(
        self, r: int = 8, v: int = 17, g: int = 2, d: int = 33, guard: float = 0.2
    ) -> None:
        super().__init__(code_size=2 * r, r=r, v=v, g=g, d=d, guard=guard)
        self.r, self.v, self.g, self.d, self.guard = r, v, g, d, guard
        self.trunk = Backbone(_WIDTHS)
        self.weights = nn.Linear(_FEATURES, 2 * r)
        self.tables = nn.Linear(r, 3 * v**3)
        self.curves = nn.Linear(r, 3 * g * v)
        self.mix = nn.Linear(3 * g + 3, 3)
        self.register_buffer("lattice", identity_table(d), persistent=False)

    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, 64, 8, 8) to codes (B, 2 R)."""
        pooled = functional.avg_pool2d(features, 5, stride=2).flatten(1)
        codes: Tensor = self.weights(pooled)
        return codes

    def decode(self, codes: Tensor) -> LutBatch:
        """Sample the method on the lattice: codes (B, 2 R) -> tables (B, 3, D, D, D)."""
        colours = self.lattice.flatten(1).T.expand(len(codes), -1, -1)  # (B, D^3, 3)
        sampled = self.transform(codes, colours).transpose(1, 2)
        sampled = sampled.reshape(-1, *self.lattice.shape)
        return LutBatch(apply_guard(sampled, self.lattice, self.guard))

    def transform(self, codes: Tensor, colours: Tensor) -> Tensor:
        """Compute the method without a lattice between: colours (B, P, 3) in 0..1 -> (B, P, 3)."""
        table = self.tables(codes[:, : self.r]).view(-1, 3, self.v, self.v, self.v)
        curves = self.curves(codes[:, self.r :]).view(-1, 3, self.g, self.v)
        curved = [apply_curves(curves[:, :, i], colours) for i in range(self.g)]
        # The published order: the G curves of red, of green, of blue, then the colour itself.
        inputs = torch.cat((torch.stack(curved, dim=3).flatten(2), colours), dim=2)
        return tetrahedral(LutBatch(table), self.mix(inputs))

    @classmethod
    def from_checkpoint(cls, state: Checkpoint) -> LutWithBGrid:
        """Read the authors' checkpoint.

        Raises:
            BadModel: a tensor is missing, left over or of a wrong shape; the message names it.
        """
        entries, r = state.shape("gen_3d_lut.basis_luts_bank.weight", None, None)
        v = round((entries / 3) ** (1 / 3))
        inputs = state.shape("slice.conv_1d.weight", 3, None, 1, 1)[1]
        g = inputs // 3 - 1
        network = cls(r, v, g)
        grids = 3 * g * v**3
        # Vertex (intensity, y, x) of a grid: the curve is its column at y = x = 0.
        bank = state.take("gen_bilateral.basis_grids_bank.weight", grids, r)
        bias = state.take("gen_bilateral.basis_grids_bank.bias", grids)
        weights = ("gen_3d_lut.weights_generator", "gen_bilateral.weights_generator")
        network.load_state_dict(
            state.take_backbone(network.trunk, lambda layer: f"backbone.model.{layer + 1}")
            | {
                "weights.weight": torch.cat(
                    [state.take(f"{name}.weight", r, _FEATURES) for name in weights]
                ),
                "weights.bias": torch.cat([state.take(f"{name}.bias", r) for name in weights]),
                "tables.weight": state.take("gen_3d_lut.basis_luts_bank.weight", 3 * v**3, r),
                "tables.bias": state.take("gen_3d_lut.basis_luts_bank.bias", 3 * v**3),
                "curves.weight": bank.view(3 * g, v, v * v, r)[:, :, 0].reshape(-1, r),
                "curves.bias": bias.view(3 * g, v, v * v)[:, :, 0].flatten(),
                "mix.weight": state.take("slice.conv_1d.weight", 3, inputs, 1, 1).flatten(1),
                "mix.bias": state.take("slice.conv_1d.bias", 3),
            }
        )
        state.finish()
        return network
