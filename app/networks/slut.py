"""sLUT: several LUTs, mixed anew at each pixel by a map of the image.

Wang et al., "Real-time Image Enhancer via Learnable Spatial-aware 3D Lookup Tables", ICCV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import LutBatch
from app.networks.clutnet import ClutNet

DEEP, MIDDLE = 128, 128  # channels of the backbone at 8x8 and at 16x16
_LAST_BLOCK = 12  # the layer of the backbone that reduces 16x16 to 8x8
SIDE = 16


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
