from __future__ import annotations

import pytest
import torch

from app.networks.clutnet import ClutNet
from app.training.pca import compressed
from app.training.start import new_network


@pytest.fixture
def plain() -> ClutNet:
    """Plain LUTs that matrices of rank 3 and 4 have made."""
    low = new_network(n=6, s=3, w=4, d=5, seed=0)
    torch.nn.init.normal_(low.psi)
    plain = new_network(n=6, s=None, w=None, d=5, seed=0)
    with torch.no_grad():
        rebuilt = torch.einsum("ds,snct,tp->dncp", low.strong, low.psi, low.weak)
        plain.psi.copy_(rebuilt)
    return plain


def test_what_is_of_low_rank_is_compressed_without_loss(plain):
    """Given LUTs of ranks 3 and 4, compressed to 3 and 4 they are the same."""
    smaller = compressed(plain, s=3, w=4)

    assert smaller.hparams == {"n": 6, "s": 3, "w": 4, "d": 5}
    assert torch.allclose(smaller.basis(), plain.basis(), atol=1e-5)


def test_the_weights_are_predicted_as_before(plain):
    """Given a thumbnail, the code is the uncompressed network's."""
    thumbnail = torch.rand(1, 3, 64, 64)

    codes = compressed(plain, s=1, w=1).encode(thumbnail)

    torch.testing.assert_close(codes, plain.encode(thumbnail), rtol=0, atol=1e-5)


def test_the_lower_the_rank_the_farther_from_the_original(plain):
    """Given ever lower ranks, the compressed LUTs are ever farther from the plain ones."""
    distances = [
        (compressed(plain, s, w).basis() - plain.basis()).norm()
        for s, w in ((3, 4), (3, 3), (2, 2), (1, 1))
    ]

    assert distances == sorted(distances)
    assert 0.1 < distances[-1] < plain.basis().norm()
