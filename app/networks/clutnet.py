"""CLUT-Net: basis LUTs in an adaptively compressed representation.

Zhang et al., "CLUT-Net: Learning Adaptively Compressed Representations of 3DLUTs for Lightweight
Image Enhancement", ACM MM 2022.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Tensor, nn

from app.errors import BadModel
from app.networks.base import Backbone, Checkpoint, LutBatch, Network, identity_table

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ClutNet(Network):
    """N basis LUTs, each M_s psi_n M_w, mixed by weights that are predicted from a thumbnail.

    Args:
        n: N, the number of basis LUTs; a code is their N weights.
        s: S, the rank along the strongly correlated axis: for each output channel, the input axis
            of the same colour. None leaves that axis uncompressed.
        w: W, the rank over the two weakly correlated axes; None leaves them uncompressed.
        d: D, the number of lattice points on an axis.
        colours: the number of features of the colours alone, which the published network lacks: the
            mean over all pixels of what a small network makes of each. The norms of the backbone
            remove most of what tells exposure, contrast, saturation and casts apart.
        restraint: k, the size of a look that is halved: looks are multiplied by r^2 / (r^2 + k^2),
            where r is the root mean square of what the LUT changes at its lattice points. Small
            looks are mostly errors of the prediction, on images that need nothing. 0 changes none.
            `set_restraint` completes it when the basis has been learned.
    """

    architecture = "clutnet"
    mean: Tensor
    std: Tensor
    identity: Tensor
    restraint: Tensor | None

    def __init__(
        self,
        n: int,
        s: int | None,
        w: int | None,
        d: int = 33,
        colours: int = 0,
        restraint: float = 0.0,
    ) -> None:
        # Cards of networks without them do not name them.
        optional = {"colours": colours, "restraint": restraint}
        extra = {name: value for name, value in optional.items() if value}
        super().__init__(code_size=n, n=n, s=s, w=w, d=d, **extra)
        self.n, self.s, self.w, self.d = n, s, w, d
        self.trunk = Backbone()
        self.colours = _colour_branch(colours) if colours else None
        self.head = nn.Sequential(nn.Linear(128 + colours, 128), nn.Hardswish(), nn.Linear(128, n))
        self.psi = nn.Parameter(torch.zeros(s or d, n, 3, w or d * d))
        self.strong = nn.Parameter(torch.zeros(d, s)) if s else None  # M_s
        self.weak = nn.Parameter(torch.zeros(w, d * d)) if w else None  # M_w
        self.register_buffer("restraint", torch.zeros(n, n) if restraint else None)
        # Constants are not stored with the weights.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.register_buffer("identity", identity_table(d), persistent=False)

    @property
    def matrices(self) -> list[nn.Parameter]:
        """The transformation matrices M_s and M_w, without those of uncompressed axes."""
        return [matrix for matrix in (self.strong, self.weak) if matrix is not None]

    def features(self, thumbnails: Tensor) -> Tensor:
        """Normalise thumbnails (B, 3, 256, 256) in 0..1 and map them to (B, 128 + C, 8, 8).

        The C features of the colours are the same at all places.
        """
        normalised = (thumbnails - self.mean) / self.std
        features = super().features(normalised)
        if self.colours is None:
            return features
        means = self.colours(normalised).mean(dim=(2, 3), keepdim=True)
        return torch.cat((features, means.expand(-1, -1, *features.shape[2:])), dim=1)

    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, 128 + C, 8, 8) to basis weights (B, N)."""
        weights: Tensor = self.head(features.mean(dim=(2, 3)))
        if self.restraint is None:
            return weights
        squares = ((weights @ self.restraint) * weights).sum(dim=1, keepdim=True)  # (r / k)^2
        return weights * (squares / (1.0 + squares))

    @torch.no_grad()
    def set_restraint(self) -> None:
        """Compute the quadratic form that maps basis weights to (r / k)^2, from the basis."""
        if self.restraint is not None:
            basis = self.basis().flatten(1)
            size = float(self.hparams["restraint"] or 0.0)
            self.restraint.copy_(basis @ basis.T / (basis.shape[1] * size**2))

    def decode(self, codes: Tensor) -> LutBatch:
        """Map basis weights (B, N) to identity plus residual (B, 3, D, D, D).

        The table is linear in the weights, so the basis is mixed while it is compressed:
        h(M_s (sum_n w_n psi_n) M_w) equals the paper's sum_n w_n h(M_s psi_n M_w).
        """
        return LutBatch(
            self.identity + self._expand(torch.einsum("bn,sncw->bcsw", codes, self.psi))
        )

    def basis(self) -> Tensor:
        """Return the N basis LUTs as residuals (N, 3, D, D, D), axes [n][channel][b][g][r]."""
        return self._expand(self.psi.permute(1, 2, 0, 3))

    def _expand(self, compressed: Tensor) -> Tensor:
        """Map (B, 3, S, W) to (B, 3, D, D, D): h(M_s . M_w) of the paper."""
        if self.weak is not None:
            compressed = compressed @ self.weak  # (S, W) @ (W, D^2)
        if self.strong is not None:
            # (D, S) @ (S, D^2) of each channel: without `expand`, matmul makes one product of all,
            # and copies the operands and the result for it.
            strong = self.strong.expand(*compressed.shape[:2], -1, -1)
            compressed = strong @ compressed
        return _to_table_order(compressed.view(-1, 3, self.d, self.d, self.d))

    @torch.no_grad()
    def initialise(self) -> None:
        """Set the weights to begin a training with: the first tables are the identity.

        M_s and M_w are Legendre polynomials of low order: a table spanned by them has no bands,
        while random matrices make rough tables, which no training smooths where photographs have
        few colours. psi is zero.
        """
        if self.strong is not None:
            self.strong.copy_(curves(self.d, self.strong.shape[1]))
        if self.weak is not None:
            self.weak.copy_(surfaces(self.d, self.weak.shape[0]))

    @torch.no_grad()
    def start_from(self, other: Network) -> None:
        """Copy the weights of another network of the same S and W.

        A CLUT-Net has the same N, too. If it has no features of the colours, those of this network
        stay as they are and have no effect at first.
        """
        self.load_state_dict(self.state_dict() | self._adopt(other))

    def _adopt(self, other: Network) -> dict[str, Tensor]:
        """Return the weights of another network, extended by features of the colours."""
        state = other.state_dict()
        state.pop("restraint", None)
        head = self.state_dict()["head.0.weight"].clone()
        columns = state["head.0.weight"].shape[1]
        head[:, columns:] = 0.0
        head[:, :columns] = state["head.0.weight"]
        return state | {"head.0.weight": head}

    @torch.no_grad()
    def smooth(self, share: float) -> None:
        """Smooth the columns of M_s and the surfaces of M_w, which all tables are made of.

        Each lattice point but the first and the last of an axis moves by twice the share towards
        the mean of its two neighbours. That keeps straight lines, and takes ripples of the period
        of two points away entirely at a share of 1/4.

        Raises:
            BadModel: an axis is not compressed, and so has no matrix.
        """
        if share == 0:
            return
        if self.strong is None or self.weak is None:
            raise BadModel("smoothing needs a network of which both axes are compressed")
        planes = self.weak.view(-1, self.d, self.d)
        for points in (self.strong, planes.movedim(1, 0), planes.movedim(2, 0)):
            points[1:-1] += share * (points[:-2] - 2 * points[1:-1] + points[2:])

    @classmethod
    def from_checkpoint(cls, state: Checkpoint) -> ClutNet:
        """Read a state dict of the authors' code, in any of its four forms.

        Raises:
            BadModel: a tensor is missing, left over or of a wrong shape; the message names it.
        """
        n, _, _, _ = state.shape("classifier.3.weight", None, 128, 1, 1)
        s = w = None
        if "CLUTs.s_Layers" in state:
            d, s = state.shape("CLUTs.s_Layers", None, None)
        if "CLUTs.w_Layers" in state:
            w, squared = state.shape("CLUTs.w_Layers", None, None)
            d = round(squared**0.5)
        if s is None and w is None:
            d = state.shape("CLUTs.LUTs", n, 3, None, None, None)[2]
        network = cls(n, s, w, d)
        network.load_state_dict(
            state.take_backbone(network.trunk, lambda layer: f"backbone.model.{layer}")
            | {
                "head.0.weight": state.take("classifier.0.weight", 128, 128, 1, 1).flatten(1),
                "head.0.bias": state.take("classifier.0.bias", 128),
                "head.2.weight": state.take("classifier.3.weight", n, 128, 1, 1).flatten(1),
                "head.2.bias": state.take("classifier.3.bias", n),
                "psi": _take_psi(state, n, s, w, d),
            }
            | ({"strong": state.take("CLUTs.s_Layers", d, s)} if s else {})
            | ({"weak": state.take("CLUTs.w_Layers", w, d * d)} if w else {})
        )
        state.finish()
        return network


def curves(size: int, count: int) -> Tensor:
    """Compute the first `count` polynomials over an axis of `size` points: (size, count)."""
    return torch.from_numpy(legendre.legvander(np.linspace(-1.0, 1.0, size), count - 1))


def surfaces(size: int, count: int) -> Tensor:
    """Compute the first `count` products P_i(x) P_j(y), i + j rising: (count, size^2)."""
    polynomials = curves(size, count).T
    orders = sorted(np.ndindex(count, count), key=sum)[:count]
    return torch.stack([torch.outer(polynomials[i], polynomials[j]).flatten() for i, j in orders])


class _SparsePool(nn.Module):
    """The means of 4x4 pixels in the middle of every 8x8.

    A quarter of an image tells its colours as well as all of it, in a quarter of the time.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H / 8, W / 8)."""
        batch, channels, height, width = pixels.shape
        rows = pixels.reshape(batch, channels, height // 8, 8, width)[:, :, :, 2:6].sum(dim=3)
        means: Tensor = (rows[..., 2::8] + rows[..., 3::8] + rows[..., 4::8] + rows[..., 5::8]) / 16
        return means


def _colour_branch(features: int) -> nn.Sequential:
    """Map each pixel of a thumbnail, reduced to 32x32, by itself: (B, C, 32, 32)."""
    return nn.Sequential(
        _SparsePool(),
        nn.Conv2d(3, features, kernel_size=1),
        nn.Hardswish(),
        nn.Conv2d(features, features, kernel_size=1),
        nn.Hardswish(),
    )


def _to_table_order(cubes: Tensor) -> Tensor:
    """Reorder (B, 3, own, D, D), each channel's own axis first, to [channel][b][g][r]."""
    red, green, blue = cubes.unbind(1)  # [r][b][g], [g][b][r], [b][g][r]
    return torch.stack((red.movedim(1, 3), green.movedim(1, 2), blue), dim=1)


def _to_own_order(tables: Tensor) -> Tensor:
    """Invert `_to_table_order`."""
    red, green, blue = tables.unbind(1)
    return torch.stack((red.movedim(3, 1), green.movedim(2, 1), blue), dim=1)


def _take_psi(state: Checkpoint, n: int, s: int | None, w: int | None, d: int) -> Tensor:
    """Take psi, whose published layout differs by form, as (S or D, N, 3, W or D^2)."""
    name = "CLUTs.LUTs"
    if s and w:
        return state.take(name, s * n * 3, w).view(s, n, 3, w)
    if s:
        return state.take(name, s, n * 3 * d * d).view(s, n, 3, d * d)
    if w:
        return state.take(name, n * 3 * d, w).view(n, 3, d, w).permute(2, 0, 1, 3)
    plain = _to_own_order(state.take(name, n, 3, d, d, d))
    return plain.flatten(3).permute(2, 0, 1, 3)
