"""Ramps through the colour cube: where bands show."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor

_POINTS = 33


def ramps(seed: int, inner: int = 36) -> Tensor:
    """Ramps between any two corners of the colour cube, and `inner` random ones inside it.

    The first 28 are all edges and diagonals, of the faces and of the cube: to and from black,
    white and each pure colour.

    Returns:
        float32 (28 + inner, 33, 3) in 0..1.
    """
    corners = np.array(list(combinations(product((0.0, 1.0), repeat=3), 2)))  # (28, 2, 3)
    ends = np.concatenate((corners, np.random.default_rng(seed).random((inner, 2, 3))))
    return torch.from_numpy(np.linspace(ends[:, 0], ends[:, 1], _POINTS, axis=1)).float()
