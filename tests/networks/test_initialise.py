from __future__ import annotations

import pytest
import torch

from app.errors import BadModel
from app.networks.base import identity_table
from app.networks.clutnet import ClutNet, curves, surfaces
from app.training.config import new_network
from app.training.losses import curvature_loss


def test_a_new_network_changes_nothing():
    """Given any thumbnail, an untrained network predicts the identity."""
    network = new_network(n=4, s=3, w=5, d=9, seed=0)

    assert torch.equal(network(torch.rand(2, 3, 64, 64)).table[1], identity_table(9))


def test_the_curves_are_polynomials_of_rising_degree():
    """Given three curves over five points: constant, straight, and a parabola through -1/2."""
    expected = torch.tensor(
        [[1, -1, 1], [1, -0.5, -0.125], [1, 0, -0.5], [1, 0.5, -0.125], [1, 1, 1]]
    )

    assert torch.allclose(curves(5, 3).float(), expected)


def test_the_surfaces_begin_with_the_flattest():
    """Given three surfaces: constant, and straight along one axis or the other."""
    constant, across, down = surfaces(3, 3).view(3, 3, 3)

    assert torch.equal(constant, torch.ones(3, 3))
    assert torch.equal(across, down.T)


def test_whatever_the_weights_say_first_tables_are_smooth():
    """Given random psi, a table on polynomials curves far less than one on random matrices."""
    network = new_network(n=4, s=3, w=6, d=17, seed=0)
    torch.nn.init.normal_(network.psi)
    smooth = curvature_loss(network.basis())

    torch.nn.init.normal_(network.strong)
    torch.nn.init.normal_(network.weak)

    assert smooth < curvature_loss(network.basis()) / 100


def test_axes_without_compression_have_no_matrix():
    """Given no S and no W, the network starts from plain LUTs."""
    network = new_network(n=2, s=None, w=None, d=5, seed=0)

    assert network.strong is None
    assert network.weak is None
    assert not network.basis().any()


def test_features_of_the_colours_have_no_effect_on_a_network_that_starts_without():
    """Given a network that has none of them, one that starts from it predicts the same."""
    old = new_network(n=2, s=2, w=3, d=5, seed=0)
    torch.nn.init.normal_(old.psi)
    network = new_network(n=2, s=2, w=3, d=5, seed=1, colours=4)
    network.start_from(old)
    thumbnails = torch.rand(2, 3, 256, 256)

    torch.testing.assert_close(network(thumbnails).table, old(thumbnails).table)
    torch.nn.init.normal_(network.head[0].weight)
    again = new_network(n=2, s=2, w=3, d=5, seed=2, colours=4)
    again.start_from(network)
    torch.testing.assert_close(again(thumbnails).table, network(thumbnails).table)


def test_smoothing_keeps_lines_and_removes_ripples():
    """Given matrices of lines and zigzags, the lines stay and the zigzags become flat."""
    network = ClutNet(2, 2, 2, 9)
    line, zigzag = torch.linspace(-1, 2, 9), torch.tensor([1.0, -1.0] * 4 + [1.0])
    plane = line[:, None] - 2 * line
    ripples = zigzag[:, None] * zigzag
    with torch.no_grad():
        network.strong.copy_(torch.stack((line, zigzag), dim=1))
        network.weak.copy_(torch.stack((plane, ripples)).flatten(1))

    network.smooth(0.25)

    torch.testing.assert_close(network.strong[:, 0], line)
    torch.testing.assert_close(network.weak[0].view(9, 9), plane)
    assert network.strong[1:-1, 1].abs().max() < 1e-6
    assert network.weak[1].view(9, 9)[1:-1, 1:-1].abs().max() < 1e-6


def test_smoothing_needs_both_matrices():
    """Given an axis that is not compressed, the network is rejected."""
    with pytest.raises(BadModel, match="both axes"):
        ClutNet(2, None, 2, 9).smooth(0.1)


def test_the_seed_decides_the_weights():
    """Given the same seed twice, the weights are the same; given another, they are not."""
    first, again, other = (new_network(n=2, s=2, w=2, d=5, seed=it) for it in (1, 1, 2))

    assert torch.equal(first.head[0].weight, again.head[0].weight)
    assert not torch.equal(first.head[0].weight, other.head[0].weight)
