from __future__ import annotations

import torch

from app.training.ramps import ramps


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
