from __future__ import annotations

import pytest
import torch
from skimage.color import deltaE_cie76, rgb2lab

from app.networks.base import identity_table
from app.training.losses import (
    clipping,
    colour_loss,
    curvature_loss,
    excess_variation,
    lab_loss,
    monotonicity,
    ramps,
    smoothness,
)


def ramp_along_red(values: list[float]) -> torch.Tensor:
    """Make a table (1, D, D, D) that varies along its last axis alone."""
    size = len(values)
    return torch.tensor(values).expand(1, size, size, size)


def test_colour_loss_is_mean_distance_plus_one_minus_mean_cosine():
    """Given one colour met and one at a right angle, L1 is 2/6 and the cosine term 1/2."""
    predictions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])

    assert colour_loss(predictions, targets).item() == pytest.approx(2 / 6 + 1 / 2)


def test_colour_loss_has_a_bounded_gradient_at_black():
    """Given a prediction of exactly black, its gradient is that of small numbers, not infinite."""
    predictions = torch.zeros(1, 3, requires_grad=True)

    colour_loss(predictions, torch.tensor([[0.5, 0.5, 0.5]])).backward()

    assert predictions.grad is not None
    assert predictions.grad.abs().max() < 100


def test_lab_loss_is_the_difference_of_cie_1976():
    """Given random colours, it is a hundredth of what scikit-image computes."""
    predictions, targets = torch.rand(2, 500, 3, generator=torch.Generator().manual_seed(0))
    expected = deltaE_cie76(rgb2lab(predictions.numpy()), rgb2lab(targets.numpy())).mean() / 100

    assert lab_loss(predictions, targets).item() == pytest.approx(expected, rel=1e-3)


def test_lab_loss_has_a_bounded_gradient_everywhere():
    """Given black, white and equal colours, the gradient is finite."""
    predictions = torch.tensor([[0.0] * 3, [1.0] * 3, [0.2, 0.4, 0.6]], requires_grad=True)

    lab_loss(predictions, torch.tensor([[1.0] * 3, [0.0] * 3, [0.2, 0.4, 0.6]])).backward()

    assert predictions.grad is not None
    assert predictions.grad.isfinite().all()


def test_smoothness_weighs_the_steps_at_both_ends_double():
    """Given steps 1, 2, 3 along one axis, the mean of w step² is (2·1 + 4 + 2·9) / 3."""
    table = ramp_along_red([0.0, 1.0, 3.0, 6.0])

    assert smoothness(table).item() == pytest.approx((2 * 1 + 4 + 2 * 9) / 3)


def test_monotonicity_counts_falls_only():
    """Given steps +1, -2, +1, -1, the mean of (w max(0, -step))² is (4 + 4·1) / 4."""
    table = ramp_along_red([0.0, 1.0, -1.0, 0.0, -1.0])

    assert monotonicity(table).item() == pytest.approx((4 + 4 * 1) / 4)


def test_curvature_is_the_square_of_second_differences():
    """Given 0, 1, 3, 6, the second differences along that axis are 1 and 1."""
    assert curvature_loss(ramp_along_red([0.0, 1.0, 3.0, 6.0])).item() == pytest.approx(1.0)


def test_excess_variation_is_the_way_there_and_back():
    """Given channels that rise, fall, and go 0, 0.6, 0.4, 1: only the last has an excess, 0.4."""
    line = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.8, 0.6], [0.7, 0.1, 0.4], [1.0, 0.0, 1.0]])

    assert excess_variation(line).item() == pytest.approx(0.4 / 3)


def test_clipping_counts_what_comes_near_the_ends_though_the_target_does_not():
    """Given samples at 0, beyond 1 and in the middle, each is charged up to 1.5 levels inside."""
    level = 1 / 255
    predictions = torch.tensor([[0.0, 1.0 + level, 0.5, 1.0]])
    targets = torch.tensor([[0.2, 0.9, 0.5, 1.0]])  # the last is white, and may be

    assert clipping(predictions, targets).item() == pytest.approx((1.5 + 2.5) * level / 4, rel=1e-4)


@pytest.mark.parametrize("axis", [-3, -2, -1])
@pytest.mark.parametrize("loss", [smoothness, monotonicity, curvature_loss])
def test_every_axis_counts_alike(loss, axis):
    """Given a table turned so that another axis varies, the losses stay."""
    table = ramp_along_red([0.0, 2.0, 1.0, 1.5])

    assert loss(table.movedim(-1, axis)).item() == pytest.approx(loss(table).item())


def test_the_identity_is_monotonic_and_straight():
    """Given the identity table, nothing falls and nothing curves."""
    table = identity_table(9)

    assert monotonicity(table) == 0
    assert curvature_loss(table).item() == pytest.approx(0, abs=1e-12)


def test_ramps_join_all_corners_of_the_cube():
    """Given no inner ramps, there are the 28 of the corners, black to white among them."""
    found = ramps(seed=0, inner=0)

    assert found.shape == (28, 33, 3)
    assert {tuple(end) for end in found[:, 0].tolist()} <= {
        (r, g, b) for r in (0.0, 1.0) for g in (0.0, 1.0) for b in (0.0, 1.0)
    }
    gray = torch.linspace(0, 1, 33)[:, None].expand(33, 3)
    assert any(torch.allclose(ramp, gray) for ramp in found)


def test_inner_ramps_are_straight_and_inside():
    """Given inner ramps, their points are evenly spaced and in 0..1; the seed decides which."""
    inner = ramps(seed=1, inner=5)[28:]

    assert inner.diff(n=2, dim=1).abs().max() < 1e-6
    assert (inner >= 0).all()
    assert (inner <= 1).all()
    assert not torch.equal(inner, ramps(seed=2, inner=5)[28:])
