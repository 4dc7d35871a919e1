"""The initial weights of a CLUT-Net: the identity, on smooth transformation matrices."""

from __future__ import annotations

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Tensor

from app.networks.clutnet import ClutNet


def new_network(n: int, s: int | None, w: int | None, d: int, seed: int) -> ClutNet:
    """Make a CLUT-Net to be trained.

    M_s and M_w are Legendre polynomials of low order: a table spanned by them has no bands, while
    random matrices make rough tables, which no training smooths where photographs have few
    colours. psi is zero: the first tables are the identity.
    """
    torch.manual_seed(seed)
    network = ClutNet(n, s, w, d)
    with torch.no_grad():
        if network.strong is not None:
            network.strong.copy_(curves(d, network.strong.shape[1]))
        if network.weak is not None:
            network.weak.copy_(surfaces(d, network.weak.shape[0]))
    return network


def curves(size: int, count: int) -> Tensor:
    """Compute the first `count` polynomials over an axis of `size` points: (size, count)."""
    return torch.from_numpy(legendre.legvander(np.linspace(-1.0, 1.0, size), count - 1))


def surfaces(size: int, count: int) -> Tensor:
    """Compute the first `count` products P_i(x) P_j(y), i + j rising: (count, size^2)."""
    polynomials = curves(size, count).T
    orders = sorted(np.ndindex(count, count), key=sum)[:count]
    return torch.stack([torch.outer(polynomials[i], polynomials[j]).flatten() for i, j in orders])
