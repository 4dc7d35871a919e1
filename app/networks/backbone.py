"""The small convolutional backbone that all methods share."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

WIDTHS = (16, 32, 64, 128, 128)


class Backbone(nn.Sequential):
    """Five 3x3 convolutions of stride 2: (B, 3, 256, 256) -> (B, widths[-1], 8, 8).

    Each convolution is followed by LeakyReLU(0.2) and, except for the last, by an affine
    InstanceNorm. GroupNorm with one channel per group computes the same, faster on a CPU. The
    design is that of Image-Adaptive-3DLUT (Zeng et al., TPAMI 2020, section 3.3), which CLUT-Net,
    AdaInt and SepLUT adopted.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        layers: list[nn.Module] = []
        for channels_in, channels_out in pairwise((3, *widths)):
            layers += [
                nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2, padding=1),
                nn.LeakyReLU(0.2),
                nn.GroupNorm(channels_out, channels_out),
            ]
        super().__init__(*layers[:-1])
