"""AdaInt: LUTs over a lattice whose spacing adapts to the image.

Yang et al., "AdaInt: Learning Adaptive Intervals for 3D Lookup Tables on Real-time Image
Enhancement", CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import Backbone, Checkpoint, LutBatch, Network

SHAPER_SIZE = 256  # a point for every 8-bit level, so that 8-bit pixels are mapped exactly


class AdaInt(Network):
    """N absolute LUTs on non-uniform lattices; a code is N weights and 3 (D-1) interval logits.

    A piecewise-linear shaper maps a non-uniform lattice onto a uniform one, so each LUT is a
    uniform table with a shaper before it.
    """

    architecture = "adaint"
    has_shaper = True
    half_codes = True

    def __init__(self, n: int = 3, d: int = 33) -> None:
        super().__init__(code_size=n + 3 * (d - 1), n=n, d=d)
        self.n, self.d = n, d
        self.trunk = Backbone()
        self.weights = nn.Linear(128 * 2 * 2, n)
        self.intervals = nn.Linear(128 * 2 * 2, 3 * (d - 1))
        self.basis = nn.Parameter(torch.zeros(n, 3, d, d, d))

    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, 128, 8, 8) to codes (B, N + 3 (D-1))."""
        features = functional.adaptive_avg_pool2d(features, 2).flatten(1)
        return torch.cat((self.weights(features), self.intervals(features)), dim=1)

    def decode(self, codes: Tensor) -> LutBatch:
        """Map codes to tables (B, 3, D, D, D) and the shapers (B, 3, 256) of their lattices."""
        table = torch.einsum("bn,nczyx->bczyx", codes[:, : self.n], self.basis)
        return LutBatch(table, lattice_shaper(self.vertices(codes)))

    def vertices(self, codes: Tensor) -> Tensor:
        """Return the lattice positions (B, 3, D), rising from 0 to 1 (equation 4 of the paper)."""
        intervals = codes[:, self.n :].reshape(-1, 3, self.d - 1).softmax(dim=2)
        return functional.pad(intervals.cumsum(dim=2), (1, 0)).clamp(max=1.0)

    @classmethod
    def from_checkpoint(cls, state: Checkpoint) -> AdaInt:
        """Read the authors' checkpoint.

        Raises:
            BadModel: a tensor is missing, left over or of a wrong shape; the message names it.
        """
        n, _ = state.shape("lut_generator.weights_generator.weight", None, 512)
        logits, _ = state.shape("adaint.intervals_generator.weight", None, 512)
        d = logits // 3 + 1
        network = cls(n, d)
        bank = state.take("lut_generator.basis_luts_bank.weight", 3 * d**3, n)
        network.load_state_dict(
            state.take_backbone(network.trunk, lambda layer: f"backbone.{layer // 3}.{layer % 3}")
            | {
                "weights.weight": state.take("lut_generator.weights_generator.weight", n, 512),
                "weights.bias": state.take("lut_generator.weights_generator.bias", n),
                "intervals.weight": state.take("adaint.intervals_generator.weight", logits, 512),
                "intervals.bias": state.take("adaint.intervals_generator.bias", logits),
                "basis": bank.T.reshape(n, 3, d, d, d),
            }
        )
        state.finish()
        return network


def lattice_shaper(vertices: Tensor) -> Tensor:
    """Map lattice positions (B, 3, D) to the curves (B, 3, 256) onto a uniform lattice."""
    last = vertices.shape[2] - 1
    levels = torch.linspace(0.0, 1.0, SHAPER_SIZE, device=vertices.device)
    levels = levels.expand(*vertices.shape[:2], -1).contiguous()
    # Positions up to each level, counted; torch.searchsorted has no equal in ONNX.
    upper = (vertices[:, :, None] <= levels[..., None]).sum(dim=3).clamp(1, last)
    left, right = vertices.gather(2, upper - 1), vertices.gather(2, upper)
    inside = (levels - left) / (right - left).clamp(min=torch.finfo(torch.float32).tiny)
    return ((upper - 1 + inside) / last).clamp(0.0, 1.0)
