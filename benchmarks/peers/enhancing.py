"""The steps of the compared servers: the embedded network, and a library that applies the LUT.

Pillow decodes and encodes, as in the examples of these servers; the JPEG has the quality and chroma
subsampling of the service (90, 4:2:0).
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from app.networks.base import LutBatch, Network
from app.networks.store import read_store
from app.policies import STORE


def load_network() -> Network:
    """Load the embedded network, on one thread: each server has as many workers as cores."""
    torch.set_num_threads(1)
    return read_store(STORE)[0].network.eval()


def decode(body: bytes) -> NDArray[np.uint8]:
    """Decode an image to (H, W, 3)."""
    with Image.open(BytesIO(body)) as image:
        return np.array(image.convert("RGB"))


def make_thumbnail(pixels: NDArray[np.uint8]) -> Tensor:
    """Reduce (H, W, 3) to (1, 3, 256, 256) in 0..1."""
    small = functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None], (256, 256), mode="bilinear"
    )
    return small.float() / 255.0


@torch.inference_mode()
def predict(net: Network, thumbnails: Tensor) -> Tensor:
    """Predict tables (B, 3, D, D, D) for thumbnails (B, 3, 256, 256)."""
    batch: LutBatch = net(thumbnails)
    return batch.table


def apply_pillow(pixels: NDArray[np.uint8], table: Tensor) -> Image.Image:
    """Apply a table (3, D, D, D) with Pillow's filter."""
    colours = table.permute(1, 2, 3, 0).clamp(0.0, 1.0).numpy().ravel()
    return Image.fromarray(pixels).filter(ImageFilter.Color3DLUT(table.shape[-1], colours))


@torch.inference_mode()
def apply_torch(pixels: NDArray[np.uint8], table: Tensor) -> Image.Image:
    """Apply a table (3, D, D, D) with grid_sample, as the test code of the methods does."""
    grid = torch.from_numpy(pixels).float().mul_(2 / 255).sub_(1)[None, None]  # (1, 1, H, W, 3)
    output = functional.grid_sample(
        table[None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    levels = output[0, :, 0].clamp_(0.0, 1.0).mul_(255.0).round_().byte()
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def encode(image: Image.Image) -> bytes:
    """Encode a JPEG."""
    target = BytesIO()
    image.save(target, "JPEG", quality=90, subsampling="4:2:0")
    return target.getvalue()
