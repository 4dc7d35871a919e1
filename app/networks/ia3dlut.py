"""Image-Adaptive-3DLUT, also known as LUT-3.

Zeng et al., "Learning Image-adaptive 3D Lookup Tables for High Performance Photo Enhancement in
Real-time", TPAMI 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from app.networks.base import Backbone, Checkpoint, LutBatch, Network


class ImageAdaptive3DLut(Network):
    """A weighted sum of N absolute LUTs; the code is the N weights (equation 4 of the paper)."""

    architecture = "ia3dlut"

    def __init__(self, n: int = 3, d: int = 33) -> None:
        super().__init__(code_size=n, n=n, d=d)
        self.trunk = Backbone()
        self.head = nn.Conv2d(128, n, kernel_size=8)
        self.basis = nn.Parameter(torch.zeros(n, 3, d, d, d))

    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, 128, 8, 8) to weights (B, N)."""
        weights: Tensor = self.head(features)
        return weights.flatten(1)

    def decode(self, codes: Tensor) -> LutBatch:
        """Map weights (B, N) to tables (B, 3, D, D, D)."""
        return LutBatch(torch.einsum("bn,nczyx->bczyx", codes, self.basis))

    @classmethod
    def from_checkpoint(cls, state: Checkpoint) -> ImageAdaptive3DLut:
        """Read the authors' classifier and LUT checkpoints, given together.

        Raises:
            BadModel: a tensor is missing, left over or of a wrong shape; the message names it.
        """
        n, _, _, _ = state.shape("model.16.weight", None, 128, 8, 8)
        d = state.shape("0.LUT", 3, None, None, None)[1]
        network = cls(n, d)
        # The first published layer resizes to 256x256, so indices are shifted by one.
        network.load_state_dict(
            state.take_backbone(network.trunk, lambda layer: f"model.{layer + 1}")
            | {
                "head.weight": state.take("model.16.weight", n, 128, 8, 8),
                "head.bias": state.take("model.16.bias", n),
                "basis": torch.stack([state.take(f"{i}.LUT", 3, d, d, d) for i in range(n)]),
            }
        )
        state.finish()
        return network
