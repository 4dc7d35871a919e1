"""sLUT: several LUTs, mixed anew at each pixel by a map of the image.

Wang et al., "Real-time Image Enhancer via Learnable Spatial-aware 3D Lookup Tables", ICCV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import LutBatch, Network
from app.networks.clutnet import ClutNet

DEEP, MIDDLE = 128, 128  # channels of the backbone at 8x8 and at 16x16
_LAST_BLOCK = 12  # the layer of the backbone that reduces 16x16 to 8x8
SIDE = 16
_SEPARATION, _PREFERENCE = 0.5, 2.0


class Slut(ClutNet):
    """M tables, each a mix of T basis LUTs by the same T weights, and a map of their shares.

    V_m = identity + sum_t w_t M_s psi_(t,m) M_w; a pixel p becomes sum_m A_m(p) V_m(p). The basis
    is compressed as in CLUT-Net, on whose features and weights this network is built. With M = 1
    it is CLUT-Net.

    The paper's map holds a weight for each place, and is bilinearly enlarged, which leaves halos
    along edges. Here it is a bilateral grid with L levels of luma, 16 x 16 places; with L = 1 it
    is the paper's.

    Args:
        t: T, the number of weights; a code is these weights, then the map.
        m: M, the number of tables.
        s: S, as in `ClutNet`.
        w: W, as in `ClutNet`.
        d: D, as in `ClutNet`.
        colours: as in `ClutNet`.
        levels: L, of luma.
        width: channels of the layers that predict the map.
    """

    architecture = "slut"

    def __init__(
        self,
        t: int,
        m: int,
        s: int | None,
        w: int | None,
        d: int = 33,
        colours: int = 0,
        levels: int = 8,
        width: int = 48,
    ) -> None:
        super().__init__(n=t, s=s, w=w, d=d, colours=colours)
        self.hparams = {"t": t, "m": m, "s": s, "w": w, "d": d, "colours": colours}
        self.hparams |= {"levels": levels, "width": width}
        self.m, self.levels = m, levels
        self.map_shape = (m - 1, levels, SIDE, SIDE) if m > 1 else None
        self.psi = nn.Parameter(torch.zeros(s or d, t * m, 3, w or d * d))
        self.local = nn.Sequential(
            nn.Conv2d(DEEP + colours + MIDDLE, width, kernel_size=3, padding=1),
            nn.Hardswish(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.Hardswish(),
        )
        self.overall = nn.Linear(DEEP + colours, width)
        self.shares = nn.Conv2d(width, m * levels, kernel_size=1)

    @property
    def last_scene(self) -> tuple[int, ...]:
        """The indices, in a code, of the weights of the last basis LUT."""
        return (self.n - 1,)

    def features(self, thumbnails: Tensor) -> Tensor:
        """Map thumbnails (B, 3, 256, 256) to (B, 128 + C + 128, 16, 16).

        The first 128 are those of 8x8, enlarged; then follow C of the colours at each place, and
        those of 16x16.
        """
        normalised = (thumbnails - self.mean) / self.std
        layers = list(self.trunk)
        middle = nn.Sequential(*layers[:_LAST_BLOCK])(normalised)
        deep = functional.interpolate(nn.Sequential(*layers[_LAST_BLOCK:])(middle), SIDE)
        if self.colours is None:
            return torch.cat((deep, middle), dim=1)
        at_places = functional.adaptive_avg_pool2d(self.colours(normalised), SIDE)
        return torch.cat((deep, at_places, middle), dim=1)

    def codes(self, features: Tensor) -> Tensor:
        """Map features (B, 256 + C, 16, 16) to T weights and the map, (B, T + (M-1) L 256)."""
        means = features[:, :-MIDDLE].mean(dim=(2, 3))
        return torch.cat((self.head(means), self._map(features, means)), dim=1)

    def decode(self, codes: Tensor) -> LutBatch:
        """Map codes to M tables (B, 3M, D, D, D) and the map (B, M - 1, L, 16, 16)."""
        weights, cells = codes[:, : self.code_size], codes[:, self.code_size :]
        maps = cells.view(-1, *self.map_shape) if self.map_shape else None
        return LutBatch(self._tables(weights), maps=maps)

    def _tables(self, weights: Tensor) -> Tensor:
        """Mix the basis while it is compressed: weights (B, T) -> (B, 3M, D, D, D)."""
        s, _, _, w = self.psi.shape
        psi = self.psi.view(s, -1, self.m, 3, w)
        mixed = torch.einsum("bt,stmcw->bmcsw", weights, psi).flatten(0, 1)
        tables = self.identity + self._expand(mixed)
        return tables.view(-1, 3 * self.m, *self.identity.shape[1:])

    def _map(self, features: Tensor, means: Tensor) -> Tensor:
        """Predict the shares of the tables but the first, flat: (B, (M-1) L 256)."""
        hidden = self.local[0](features) + self.overall(means)[:, :, None, None]
        logits = self.shares(self.local[1:](hidden)).unflatten(1, (self.m, self.levels))
        shares: Tensor = logits.softmax(dim=1)[:, 1:]
        return shares.flatten(1)

    @torch.no_grad()
    def initialise(self) -> None:
        """Set the weights to begin a training with, see `ClutNet`; the tables differ."""
        super().initialise()
        self._separate_tables()

    @torch.no_grad()
    def start_from(self, other: Network) -> None:
        """Copy the weights of another network of the same S and W.

        All tables of an sLUT start as the one table of a CLUT-Net, but for their separation; its
        weights beyond those of the CLUT-Net, and the map, are new. A 4D-LUT takes all of a
        CLUT-Net but the basis and the weights.
        """
        super().start_from(other)
        if not isinstance(other, Slut):
            self._separate_tables()

    def _adopt(self, other: Network) -> dict[str, Tensor]:
        """Return the weights of another network, those of a CLUT-Net extended to M tables."""
        state = super()._adopt(other)
        if isinstance(other, Slut):
            return state
        weights, bias, psi = (state.pop(it) for it in ("head.2.weight", "head.2.bias", "psi"))
        own, count = self.state_dict(), len(bias)
        if own["psi"].shape[1] < count * self.m:  # the scenes of a 4D-LUT are others
            return state
        extended = {name: own[name].clone() for name in ("head.2.weight", "head.2.bias", "psi")}
        extended["head.2.weight"][:count], extended["head.2.bias"][:count] = weights, bias
        extended["psi"][:, : count * self.m] = psi.repeat_interleave(self.m, dim=1)
        return state | extended

    def _separate_tables(self) -> None:
        """Let the last basis LUT brighten the tables, the first by nothing and the last by a half.

        Tables that are equal would learn the same, and the map nothing. The map starts with most
        of the first table.
        """
        shape = self.psi.shape
        factors = torch.linspace(0.0, _SEPARATION, self.m)
        last = factors[:, None, None, None] * self._compress_exposure()  # (M, 3, S, W)
        self.psi.view(shape[0], -1, self.m, *shape[2:])[:, -1] = last.permute(2, 0, 1, 3)
        own = self.state_dict()  # its tensors are those of the network
        own["shares.bias"][:] = 0.0
        own["shares.bias"][: self.levels] = _PREFERENCE  # logits of the first table
        scene = list(self.last_scene)
        own["head.2.weight"][scene], own["head.2.bias"][scene] = 0.0, 1.0

    def _compress_exposure(self) -> Tensor:
        """Compress the table whose channels are those of the input: (3, S, W)."""
        ramp, ones = torch.linspace(0.0, 1.0, self.d)[:, None], torch.ones(1, self.d**2)
        if self.strong is not None:
            ramp = torch.linalg.lstsq(self.strong, ramp).solution  # (S, 1)
        if self.weak is not None:
            ones = torch.linalg.lstsq(self.weak.T, ones.T).solution.T  # (1, W)
        return (ramp @ ones).expand(3, -1, -1)
