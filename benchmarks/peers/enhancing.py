"""What every peer does to a photo: the same network as ours, and the LUT by a library.

Bytes go in and out through Pillow, as in the services' own examples; the JPEG is written as we
write it, at quality 90 with the colours of the input's kind (4:2:0).
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from app.networks.base import Network
from app.networks.store import read_store
from app.policies import STORE


def network() -> Network:
    """The embedded network, on one thread: each of the peers has as many workers as cores."""
    torch.set_num_threads(1)
    return read_store(STORE)[0].network.eval()


def opened(body: bytes) -> NDArray[np.uint8]:
    """Bytes -> pixels (H, W, 3)."""
    with Image.open(BytesIO(body)) as image:
        return np.array(image.convert("RGB"))


def thumbnail(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels -> (1, 3, 256, 256) in 0..1; the channels are split after the reduction."""
    small = functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None], (256, 256), mode="bilinear"
    )
    return small.float() / 255.0


@torch.inference_mode()
def tables(net: Network, thumbnails: Tensor) -> Tensor:
    """Thumbnails (B, 3, 256, 256) -> tables (B, 3, D, D, D)."""
    return net(thumbnails).table


def through_pillow(pixels: NDArray[np.uint8], table: Tensor) -> Image.Image:
    """Applies a table (3, D, D, D) by Pillow's filter."""
    colours = table.permute(1, 2, 3, 0).clamp(0.0, 1.0).numpy().ravel()
    return Image.fromarray(pixels).filter(ImageFilter.Color3DLUT(table.shape[-1], colours))


@torch.inference_mode()
def through_torch(pixels: NDArray[np.uint8], table: Tensor) -> Image.Image:
    """Applies a table (3, D, D, D) by grid_sample, as the methods' own test code does."""
    grid = torch.from_numpy(pixels).float().mul_(2 / 255).sub_(1)[None, None]  # (1, 1, H, W, 3)
    answer = functional.grid_sample(
        table[None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    levels = answer[0, :, 0].clamp_(0.0, 1.0).mul_(255.0).round_().byte()
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def saved(image: Image.Image) -> bytes:
    """An image -> JPEG bytes."""
    target = BytesIO()
    image.save(target, "JPEG", quality=90, subsampling="4:2:0")
    return target.getvalue()
