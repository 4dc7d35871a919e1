"""BPAM, a teacher: a small MLP for every pixel, sliced out of bilateral grids.

Lou et al., "Learning Pixel-adaptive Multi-layer Perceptrons for Real-time Image Enhancement",
ICCV 2025. The grids come from a NAFNet (Chen et al., "Simple Baselines for Image Restoration",
ECCV 2022). Too slow to serve: 0.3 to 4 s for half a megapixel on a core.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import Checkpoint

_WIDTH = 16
_DEPTH = 8  # grid points along a guide
_HIDDEN = 8  # units of the MLP
_STAGES = 3


class Bpam(nn.Module):
    """out = W2(x) relu(W1(x) rgb), W1 (8, 3 + 1) and W2 (3, 8 + 1) of each pixel's own.

    Submodules are named as in the authors' checkpoint.

    Args:
        simple: whether the guides see each pixel by itself, as in the checkpoint for LCDP.
    """

    def __init__(self, *, simple: bool = False) -> None:
        super().__init__()
        self.model = _NafNet()
        side, hidden = (1, 1) if simple else (3, 3)
        self.mlp = nn.ModuleDict(
            {
                "context1": _Guide(3, 3 + 1, side, hidden),
                "context2": _Guide(_HIDDEN, _HIDDEN + 1, side, hidden),
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Enhance images float32 (B, 3, H, W) in 0..1; the output is not clamped above."""
        first, second = self.model(functional.interpolate(images, scale_factor=0.5))
        hidden = _layer(images, first, self.mlp["context1"](images), _HIDDEN).relu()
        return _layer(hidden, second, self.mlp["context2"](hidden), 3).relu()

    @classmethod
    def read(cls, path: Path) -> Bpam:
        """Read the authors' checkpoint.

        Raises:
            BadModel: it cannot be read, or a tensor is missing, left over or of another shape.
        """
        checkpoint = Checkpoint.read([path])
        *_, side = checkpoint.shape("mlp.context1.guide_net.0.weight", None, 3, None, None)
        network = cls(simple=side == 1)
        checkpoint.load_into(network)
        return network.eval().requires_grad_(requires_grad=False)


def _layer(inputs: Tensor, grid: Tensor, guides: Tensor, outputs: int) -> Tensor:
    """Apply a layer of per-pixel weights: (B, C, H, W) -> (B, outputs, H, W).

    Args:
        inputs: (B, C, H, W).
        grid: (B, (C + 1) * outputs, depth, h, w): the weights of each input, then the bias.
        guides: (B, C + 1, H, W) in -1..1: where along the depth each input's weights are read.
        outputs: the number of output channels.
    """
    weights = [
        _slice(part, guide)
        for part, guide in zip(grid.split(outputs, dim=1), guides.unbind(1), strict=True)  # type: ignore[no-untyped-call]
    ]
    products = [
        weight * channel[:, None]
        for weight, channel in zip(weights[:-1], inputs.unbind(1), strict=True)
    ]
    return torch.stack(products).sum(dim=0) + weights[-1]


def _slice(grid: Tensor, guide: Tensor) -> Tensor:
    """Read a grid (B, K, depth, h, w) at every pixel of a guide (B, H, W): (B, K, H, W)."""
    batch, height, width = guide.shape
    # The authors' coordinates: 2 i / N - 1, half a pixel up and left of the pixel's centre.
    y = torch.arange(height) * (2.0 / height) - 1.0
    x = torch.arange(width) * (2.0 / width) - 1.0
    where = torch.stack(
        (
            x.expand(batch, height, width),
            y[:, None].expand(batch, height, width),
            guide,
        ),
        dim=-1,
    )
    return functional.grid_sample(
        grid, where[:, None], padding_mode="border", align_corners=False
    ).squeeze(2)


class _Guide(nn.Module):
    """Convolutions and a tanh: (B, C, H, W) -> (B, guides, H, W) in -1..1."""

    def __init__(self, channels: int, guides: int, side: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(hidden):
            layers += [nn.Conv2d(channels, 16, side, padding="same"), nn.ReLU()]
            channels = 16
        last = nn.Conv2d(16, guides, side, padding="same")
        self.guide_net = nn.Sequential(*layers, last, nn.Tanh())

    def forward(self, inputs: Tensor) -> Tensor:
        guides: Tensor = self.guide_net(inputs)
        return guides


class _NafNet(nn.Module):
    """Predicts both grids from an image: (B, 3, H, W) -> (B, K, depth, H / 4, W / 4) twice."""

    def __init__(self) -> None:
        super().__init__()
        widths = [_WIDTH << stage for stage in range(_STAGES + 1)]
        self.intro = nn.Conv2d(3, _WIDTH, 3, padding=1)
        self.encoders = nn.ModuleList(_blocks(width) for width in widths[:-1])
        self.downs = nn.ModuleList(
            nn.Conv2d(width, 2 * width, 2, stride=2) for width in widths[:-1]
        )
        self.middle_blks = _blocks(widths[-1])
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2))
            for width in reversed(widths[1:])
        )
        self.decoders = nn.ModuleList(_blocks(width) for width in reversed(widths[:-1]))
        self.ending = nn.Conv2d(16 * _WIDTH, (3 + 1) * _HIDDEN * _DEPTH, 1)
        self.ending2 = nn.Conv2d(16 * _WIDTH, (_HIDDEN + 1) * 3 * _DEPTH, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        multiple = 2**_STAGES
        features = self.intro(functional.pad(images, (0, -width % multiple, 0, -height % multiple)))
        skips: list[Tensor] = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            features = decoder(up(features) + skips.pop())
        features = functional.pixel_unshuffle(features, 4)
        first: Tensor = self.ending(features)
        second: Tensor = self.ending2(features)
        return first.unflatten(1, (-1, _DEPTH)), second.unflatten(1, (-1, _DEPTH))  # type: ignore[no-untyped-call]


def _blocks(width: int) -> nn.Sequential:
    return nn.Sequential(_NafBlock(width), _NafBlock(width))


class _NafBlock(nn.Module):
    """A NAFNet block: gated convolutions and a channel attention, then a gated MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = _LayerNorm(width)
        self.conv1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.conv3 = nn.Conv2d(width, width, 1)
        self.norm2 = _LayerNorm(width)
        self.conv4 = nn.Conv2d(width, 2 * width, 1)
        self.conv5 = nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        gated = _gate(self.conv2(self.conv1(self.norm1(features))))
        features = features + self.beta * self.conv3(gated * self.sca(gated))
        gated = _gate(self.conv4(self.norm2(features)))
        output: Tensor = features + self.gamma * self.conv5(gated)
        return output


class _LayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        normalised: Tensor = super().forward(features.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


def _gate(features: Tensor) -> Tensor:
    left, right = features.chunk(2, dim=1)
    return left * right
