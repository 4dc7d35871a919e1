"""A local network beside a global one, and a gate that decides how much of each is taken."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import LutBatch, Network
from app.networks.clutnet import ClutNet
from app.networks.lut_ops import LUMA, apply_local, image_places
from app.networks.slut import DEEP, MIDDLE, SIDE, Slut

_STEP = 4  # of the pixels of the thumbnail on which the two networks are compared
_TRACES = 3  # numbers by which the gate compares them
_LIGHT = 5  # numbers by which the gate sees the light of each place
_LEAST = 1e-3  # of numbers that are on a logarithmic scale
_DARKEST = 0.02  # luma, likewise
_CLIPPED = 0.985


class Gate(nn.Sequential):
    """Map planes (B, F, 16, 16) to the logit of the gate (B, 1).

    It compares places: means over the whole image do not tell local light from a photograph that
    is dark everywhere.
    """

    def __init__(self, planes: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(planes, width, kernel_size=1),
            nn.Hardswish(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.Hardswish(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.Hardswish(),
            _Spread(),
            nn.Linear(2 * width, width),
            nn.Hardswish(),
            nn.Linear(width, 1),
        )


class _Spread(nn.Module):
    """The mean and the deviation of planes (B, C, H, W): (B, 2C)."""

    def forward(self, planes: Tensor) -> Tensor:
        deviations, means = torch.std_mean(planes, dim=(2, 3))
        return torch.cat((means, deviations), dim=1)


class GatedSlut(Network):
    """M tables identity + (1 - g) R + g (V_m - identity), and the map of an sLUT.

    R is what a CLUT-Net changes, V_m are the tables of an sLUT, and g in 0..1 is the gate: a small
    network reads, at 16 x 16 places, the features and the map of the sLUT and the light, and how
    much the two networks differ on the thumbnail. Light that differs within a photograph opens it.
    Elsewhere the global network predicts better.

    A code is the weights of both networks, multiplied by 1 - g and by g, then the map: tables are
    linear in it. `app.training.gate` fits the gate to two networks that are trained already.

    Args:
        n: N of the CLUT-Net.
        t: T of the sLUT, as the following arguments.
        m: M.
        s: S, of both, as W, D and C.
        w: W.
        d: D.
        colours: C, the features of the colours.
        levels: L.
        width: as in `Slut`.
        restraint: as in `ClutNet`.
        gate_width: channels of the gate.
    """

    architecture = "gated_slut"

    def __init__(
        self,
        n: int,
        t: int,
        m: int,
        s: int | None,
        w: int | None,
        d: int = 33,
        colours: int = 0,
        levels: int = 8,
        width: int = 48,
        restraint: float = 0.0,
        gate_width: int = 32,
    ) -> None:
        sizes = {"n": n, "t": t, "m": m, "s": s, "w": w, "colours": colours}
        sizes |= {"levels": levels, "width": width, "gate_width": gate_width}
        super().__init__(code_size=n + t, d=d, **sizes, restraint=restraint)
        self.overall = ClutNet(n, s, w, d, colours, restraint)
        self.local = Slut(t, m, s, w, d, colours, levels, width)
        self.map_shape = self.local.map_shape
        self._deep = DEEP + colours
        planes = self._deep + MIDDLE + (m - 1) * levels + _LIGHT + _TRACES
        self.gate = Gate(planes, gate_width)

    def features(self, thumbnails: Tensor) -> Tensor:
        """Map thumbnails to the features of both networks and some pixels: (B, C, 16, 16)."""
        overall = functional.interpolate(self.overall.features(thumbnails), SIDE)
        pixels = functional.pixel_unshuffle(thumbnails[..., ::_STEP, ::_STEP], _STEP)
        return torch.cat((self.local.features(thumbnails), overall, pixels), dim=1)

    def codes(self, features: Tensor) -> Tensor:
        """Map features to the weights of both networks, blended, and the map."""
        overall, local, inputs = self.parts(features)
        return self.blend(overall, local, torch.sigmoid(self.gate(inputs)))

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes (B, N) and (B, T + cells), and the inputs of the gate (B, F, 16, 16)."""
        deep = self._deep
        sizes = (deep + MIDDLE, deep, features.shape[1] - 2 * deep - MIDDLE)
        of_local, of_overall, pixels = features.split_with_sizes(sizes, dim=1)
        overall, local = self.overall.codes(of_overall), self.local.codes(of_local)
        cells = local[:, self.local.code_size :].view(len(local), -1, SIDE, SIDE)
        traces = self._compare(overall, local, functional.pixel_shuffle(pixels, _STEP))
        everywhere = traces[:, :, None, None].expand(-1, -1, SIDE, SIDE)
        return overall, local, torch.cat((of_local, cells, _light(pixels), everywhere), dim=1)

    def blend(self, overall: Tensor, local: Tensor, gate: Tensor) -> Tensor:
        """Blend the codes of both networks by a gate (B, 1)."""
        weights, cells = local[:, : self.local.code_size], local[:, self.local.code_size :]
        return torch.cat((overall * (1.0 - gate), weights * gate, cells), dim=1)

    def decode(self, codes: Tensor) -> LutBatch:
        """Map codes to M tables (B, 3M, D, D, D) and the map."""
        overall, local = codes[:, : self.overall.n], codes[:, self.overall.n :]
        changed = self.overall.decode(overall).table - self.overall.identity
        tables = self.local.decode(local)
        return tables._replace(table=tables.table + changed.repeat(1, self.local.m, 1, 1, 1))

    def _compare(self, overall: Tensor, local: Tensor, shown: Tensor) -> Tensor:
        """Compare the networks on pixels (B, 3, H, W): logarithms (B, 3).

        Of the root mean squares of what the map changes, and of the difference between both
        networks, and of the mean deviation of the map.
        """
        batch, _, height, width = shown.shape
        colours = shown.flatten(2).transpose(1, 2)
        places = image_places(height, width).to(shown.device).expand(batch, -1, -1)
        mixed = self.local.decode(local)
        if mixed.maps is None:
            raise TypeError("a gate needs a map")
        even = mixed.maps.mean(dim=(3, 4), keepdim=True).expand_as(mixed.maps)
        here, evenly, simply = (
            apply_local(it, colours, places).clamp(0.0, 1.0)
            for it in (mixed, mixed._replace(maps=even), self.overall.decode(overall))
        )
        traces = (
            (here - evenly).square().mean(dim=(1, 2)).sqrt(),
            (here - simply).square().mean(dim=(1, 2)).sqrt(),
            mixed.maps.std(dim=(3, 4)).mean(dim=(1, 2)),
        )
        return torch.log(torch.stack(traces, dim=1) + _LEAST)


def _light(pixels: Tensor) -> Tensor:
    """Describe the light of each place by its pixels (B, 3 * 16, 16, 16): (B, 5, 16, 16).

    The mean, deviation, minimum and maximum of the logarithm of luma, and the share of clipped
    pixels.
    """
    colours = pixels.reshape(len(pixels), 3, -1, *pixels.shape[2:])
    luma = (colours * colours.new_tensor(LUMA)[:, None, None, None]).sum(dim=1)
    logs = torch.log(luma + _DARKEST)
    deviations, means = torch.std_mean(logs, dim=1)
    clipped = (colours.amax(dim=1) > _CLIPPED).to(logs.dtype).mean(dim=1)
    return torch.stack((means, deviations, logs.amin(dim=1), logs.amax(dim=1), clipped), dim=1)
