from __future__ import annotations

import pytest
import torch

from app.training.batch import Batch, drawn, psnr
from app.training.start import new_network


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_each_photo_is_drawn_once_an_epoch(size):
    """Given 7 photos, whatever the batch, every 7 draws in a row from the start are all of them."""
    draws = [i for step in range(21) for i in drawn(7, size, seed=0, step=step)]

    epochs = [draws[i : i + 7] for i in range(0, len(draws), 7)]

    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_draws_depend_on_the_seed_and_the_step_alone():
    """Given the same step again, the draw is the same; given another seed, it is not."""
    assert drawn(50, 8, seed=1, step=30) == drawn(50, 8, seed=1, step=30)
    assert drawn(50, 8, seed=1, step=30) != drawn(50, 8, seed=2, step=30)


def test_psnr_is_the_mean_over_photos_in_decibels():
    """Given the identity, and targets off by 0.1 and by 0.01, the mean of 20 and 40 dB is 30."""
    network = new_network(n=1, s=2, w=2, d=3, seed=0)
    colours = torch.full((2, 5, 3), 0.5)
    targets = colours + torch.tensor([0.1, 0.01])[:, None, None]

    assert psnr(network, [Batch(torch.rand(2, 3, 64, 64), colours, targets)]) == pytest.approx(
        30, abs=1e-3
    )
