"""SepLUT: 1D curves for each channel, then a small 3D LUT.

Yang et al., "SepLUT: Separable Image-adaptive Lookup Tables for Real-time Image Enhancement",
ECCV 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import Backbone, Checkpoint, LutBatch, Network


class SepLut(Network):
    """Three 1D curves of C points before a weighted sum of N absolute D^3 tables.

    A code is the N weights and the 3 C points of the curves. M is the width of the first
    convolution, half of that of the other methods.
    """

    architecture = "seplut"
    has_shaper = True
    half_codes = True

    def __init__(self, m: int = 8, n: int = 3, c: int = 17, d: int = 17) -> None:
        super().__init__(code_size=n + 3 * c, m=m, n=n, c=c, d=d)
        self.m, self.n, self.c, self.d = m, n, c, d
        widths = (m, 2 * m, 4 * m, 8 * m, 8 * m)
        self.trunk = Backbone(widths)
        self.weights = nn.Linear(widths[-1] * 2 * 2, n)
        self.curves = nn.Linear(widths[-1] * 2 * 2, 3 * c)
        self.basis = nn.Parameter(torch.zeros(n, 3, d, d, d))

    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, 8 M, 8, 8) to codes (B, N + 3 C)."""
        features = functional.adaptive_avg_pool2d(features, 2).flatten(1)
        return torch.cat((self.weights(features), self.curves(features).sigmoid()), dim=1)

    def decode(self, codes: Tensor) -> LutBatch:
        """Map codes to tables (B, 3, D, D, D) and shapers (B, 3, C)."""
        weights, curves = codes[:, : self.n], codes[:, self.n :]
        table = torch.einsum("bn,nczyx->bczyx", weights, self.basis)
        return LutBatch(table, curves.reshape(-1, 3, self.c))

    @classmethod
    def from_checkpoint(cls, state: Checkpoint) -> SepLut:
        """Read the authors' checkpoint.

        Raises:
            BadModel: a tensor is missing, left over or of a wrong shape; the message names it.
        """
        m = state.shape("backbone.0.0.weight", None, 3, 3, 3)[0]
        n, features = state.shape("lut3d_generator.weights_generator.weight", None, 32 * m)
        points, _ = state.shape("lut1d_generator.lut1d_generator.weight", None, features)
        entries, _ = state.shape("lut3d_generator.basis_luts_bank.weight", None, n)
        d = round((entries / 3) ** (1 / 3))
        network = cls(m, n, points // 3, d)
        bank = state.take("lut3d_generator.basis_luts_bank.weight", 3 * d**3, n)
        curves = "lut1d_generator.lut1d_generator"
        weights = "lut3d_generator.weights_generator"
        network.load_state_dict(
            state.take_backbone(network.trunk, lambda layer: f"backbone.{layer // 3}.{layer % 3}")
            | {
                "weights.weight": state.take(f"{weights}.weight", n, features),
                "weights.bias": state.take(f"{weights}.bias", n),
                "curves.weight": state.take(f"{curves}.weight", points, features),
                "curves.bias": state.take(f"{curves}.bias", points),
                "basis": bank.T.reshape(n, 3, d, d, d),
            }
        )
        state.finish()
        return network
