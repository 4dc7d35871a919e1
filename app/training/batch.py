"""What one step of training sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from app.networks.base import Network
from app.networks.lut_ops import trilinear


class Batch(NamedTuple):
    """B photos: what the network sees, and what it should make of P colours of each.

    Attributes:
        thumbnails: float32 (B, 3, S, S) in 0..1.
        colours: float32 (B, P, 3) in 0..1.
        targets: float32 (B, P, 3) in 0..1.
        hints: float32 (B, F, 8, 8), what teachers saw in the thumbnails, or (0,).
    """

    thumbnails: Tensor
    colours: Tensor
    targets: Tensor
    hints: Tensor = torch.empty(0)


def drawn(count: int, size: int, seed: int, step: int) -> list[int]:
    """Which of `count` photos are in the batch of a step: each once an epoch, in a new order."""
    start = step * size
    epochs = range(start // count, (start + size - 1) // count + 1)
    orders = [np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs]
    picked: list[int] = np.concatenate(orders)[start % count :][:size].tolist()
    return picked


@torch.no_grad()
def psnr(network: Network, batches: Iterable[Batch]) -> float:
    """Mean PSNR over photos, in dB, of the network's answers to the targets."""
    errors = []
    for batch in batches:
        answers = trilinear(network(batch.thumbnails), batch.colours).clamp(0.0, 1.0)
        errors.append((answers - batch.targets).square().mean(dim=(1, 2)))
    return -10.0 * torch.cat(errors).log10().mean().item()
