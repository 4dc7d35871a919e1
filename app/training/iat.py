"""IAT, a teacher for exposure: a product and a sum for every pixel, then a matrix and a gamma.

Cui et al., "You Only Need 90K Parameters to Adapt Light: A Light Weight Transformer for Image
Enhancement and Exposure Correction", BMVC 2022. It computes at full size: a second or more for a
megapixel on a core.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.networks.base import Checkpoint

_WIDTH = 16
_BLOCKS = 3
_GLOBAL_WIDTH = 64
_HEADS = 4
_QUERIES = 10  # one for the gamma, nine for the matrix


class Iat(nn.Module):
    """out = clamp(M (rgb x product + sum)) ^ gamma, with M (3, 3) and gamma of each image's own.

    Submodules are named as in the authors' checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self.local_net = _Local()
        self.global_net = _Global()

    def forward(self, images: Tensor) -> Tensor:
        """Enhance images float32 (B, 3, H, W) in 0..1: the same, in 0..1."""
        product, addend = self.local_net(images)
        gamma, matrix = self.global_net(images)
        lit = torch.einsum("bij,bjhw->bihw", matrix, images * product + addend)
        # The authors' lower bound: a gamma below 1 has no slope at 0.
        return cast("Tensor", lit.clamp(1e-8, 1.0) ** gamma[:, None, None, None])

    @classmethod
    def read(cls, path: Path) -> Iat:
        """Read the authors' checkpoint.

        Raises:
            BadModel: it cannot be read, or a tensor is missing, left over or of another shape.
        """
        network = cls()
        Checkpoint.read([path]).load_into(network)
        return network.eval().requires_grad_(requires_grad=False)


class _Local(nn.Module):
    """Predicts the product and the sum of every pixel: (B, 3, H, W) -> (B, 3, H, W) twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _WIDTH, 3, padding=1)
        self.mul_blocks = nn.Sequential(*(_Block() for _ in range(_BLOCKS)))
        self.add_blocks = nn.Sequential(*(_Block() for _ in range(_BLOCKS)))
        self.mul_end = nn.Sequential(nn.Conv2d(_WIDTH, 3, 3, padding=1), nn.ReLU())
        self.add_end = nn.Sequential(nn.Conv2d(_WIDTH, 3, 3, padding=1), nn.Tanh())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = functional.leaky_relu(self.conv1(images), 0.2)
        product: Tensor = self.mul_end(self.mul_blocks(features) + features)
        addend: Tensor = self.add_end(self.add_blocks(features) + features)
        return product, addend


class _Block(nn.Module):
    """A transformer block with a 5x5 convolution in the place of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, groups=_WIDTH)
        self.norm1 = _Affine()
        self.conv1 = nn.Conv2d(_WIDTH, _WIDTH, 1)
        self.attn = nn.Conv2d(_WIDTH, _WIDTH, 5, padding=2, groups=_WIDTH)
        self.conv2 = nn.Conv2d(_WIDTH, _WIDTH, 1)
        self.norm2 = _Affine()
        self.mlp = _Mlp(lambda i, o: nn.Conv2d(i, o, 1), _WIDTH)
        self.gamma_1 = nn.Parameter(torch.zeros(1, _WIDTH, 1, 1))
        self.gamma_2 = nn.Parameter(torch.zeros(1, _WIDTH, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        features = features + self.pos_embed(features)
        mixed = self.conv2(self.attn(self.conv1(self.norm1(features))))
        features = features + self.gamma_1 * mixed
        output: Tensor = features + self.gamma_2 * self.mlp(self.norm2(features))
        return output


class _Affine(nn.Module):
    """A matrix and a scale of the channels of (B, C, H, W), in the place of a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, _WIDTH))
        self.beta = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.color = nn.Parameter(torch.eye(_WIDTH))

    def forward(self, features: Tensor) -> Tensor:
        mixed = functional.conv2d(features, self.color[:, :, None, None])
        return mixed * self.alpha.view(-1, 1, 1) + self.beta.view(-1, 1, 1)


class _Global(nn.Module):
    """Predicts gamma and matrix: (B, 3, H, W) -> (B,) and (B, 3, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_large = nn.ModuleDict(
            {
                "proj": nn.Sequential(
                    nn.Conv2d(3, _GLOBAL_WIDTH // 2, 3, stride=2, padding=1),
                    nn.BatchNorm2d(_GLOBAL_WIDTH // 2),
                    nn.GELU(),
                    nn.Conv2d(_GLOBAL_WIDTH // 2, _GLOBAL_WIDTH, 3, stride=2, padding=1),
                    nn.BatchNorm2d(_GLOBAL_WIDTH),
                )
            }
        )
        self.generator = _Generator()
        self.gamma_linear = nn.Linear(_GLOBAL_WIDTH, 1)
        self.color_linear = nn.Linear(_GLOBAL_WIDTH, 1)
        self.gamma_base = nn.Parameter(torch.ones(1))
        self.color_base = nn.Parameter(torch.eye(3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.generator(self.conv_large["proj"](images))
        gamma: Tensor = self.gamma_linear(outputs[:, 0])[:, 0] + self.gamma_base
        matrix: Tensor = self.color_linear(outputs[:, 1:]).view(-1, 3, 3) + self.color_base
        return gamma, matrix


class _Generator(nn.Module):
    """Ten learned queries attend to an image's features: (B, C, h, w) -> (B, 10, C)."""

    def __init__(self) -> None:
        super().__init__()
        width = _GLOBAL_WIDTH
        self.pos_embed = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention()
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _Mlp(nn.Linear, width)

    def forward(self, features: Tensor) -> Tensor:
        features = features + self.pos_embed(features)
        outputs = self.attn(self.norm1(features.flatten(2).mT))
        output: Tensor = outputs + self.mlp(self.norm2(outputs))
        return output


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.ones(1, _QUERIES, _GLOBAL_WIDTH))
        self.k = nn.Linear(_GLOBAL_WIDTH, _GLOBAL_WIDTH, bias=False)
        self.v = nn.Linear(_GLOBAL_WIDTH, _GLOBAL_WIDTH, bias=False)
        self.proj = nn.Linear(_GLOBAL_WIDTH, _GLOBAL_WIDTH)

    def forward(self, places: Tensor) -> Tensor:
        query = self.q.expand(len(places), -1, -1)
        attended = functional.scaled_dot_product_attention(
            _by_head(query), _by_head(self.k(places)), _by_head(self.v(places))
        )
        output: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return output


def _by_head(tokens: Tensor) -> Tensor:
    """(B, T, C) -> (B, heads, T, C / heads)."""
    return tokens.view(*tokens.shape[:2], _HEADS, -1).transpose(1, 2)


class _Mlp(nn.Module):
    def __init__(self, layer: Callable[[int, int], nn.Module], width: int) -> None:
        super().__init__()
        self.fc1 = layer(width, 4 * width)
        self.fc2 = layer(4 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.fc2(functional.gelu(self.fc1(features)))
        return output
