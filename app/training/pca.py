"""Trained LUTs, compressed afterwards."""

from __future__ import annotations

import torch
from torch import Tensor

from app.networks.clutnet import ClutNet


@torch.no_grad()
def compressed(network: ClutNet, s: int, w: int) -> ClutNet:
    """The nearest that matrices of rank S and W come to a network's plain LUTs, without training.

    M_s and M_w are the first principal components of all the columns along the strong axis and
    of all the slices across it: a truncated higher-order SVD (De Lathauwer, De Moor and
    Vandewalle, "A Multilinear Singular Value Decomposition", 2000). The means are not taken off:
    they would be parameters that the CLUT has no place for.

    Args:
        network: one without S and W.
        s: S, at most D.
        w: W, at most D^2.
    """
    smaller = ClutNet(network.n, s, w, network.d)
    plain = network.psi  # (D, N, 3, D^2)
    strong = _components(plain.flatten(1), s)  # (D, S)
    weak = _components(plain.flatten(0, 2).T, w).T  # (W, D^2)
    psi = torch.einsum("ds,dnct,wt->sncw", strong, plain, weak)
    basis = {"psi": psi, "strong": strong, "weak": weak}
    smaller.load_state_dict(network.state_dict() | basis)
    return smaller.eval()


def _components(columns: Tensor, count: int) -> Tensor:
    """The first principal directions of columns (size, many): orthonormal, (size, count)."""
    directions: Tensor = torch.linalg.svd(columns, full_matrices=False).U
    return directions[:, :count]
