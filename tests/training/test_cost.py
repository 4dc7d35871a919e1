from __future__ import annotations

import pytest

from app.networks.clutnet import ClutNet
from app.training.cost import cost, multiply_adds


def test_the_published_counts_of_20_05_20():
    """Given N, S, W, D = 20, 5, 20, 33: 28K LUT parameters, 872K multiply-adds, 292,541 in all."""
    counts = cost(ClutNet(n=20, s=5, w=20, d=33))

    assert counts == (27_945, 292_541, 871_755)


def test_the_published_counts_of_20_05_10():
    """Given W = 10, it has 278,651 parameters in all."""
    assert cost(ClutNet(n=20, s=5, w=10, d=33)).parameters == 278_651


def test_the_published_counts_of_plain_luts():
    """Given 20 plain LUTs, 2,156K parameters, and as many multiply-adds: 3 N D^3."""
    counts = cost(ClutNet(n=20, s=None, w=None, d=33))

    assert (counts.lut_parameters, counts.multiply_adds) == (2_156_220, 2_156_220)


def test_a_smaller_lattice_with_about_the_parameters_of_20_05_20():
    """Given D, 8 comes nearer to 27,945 parameters than 7 and 9."""
    counts = {d: cost(ClutNet(n=20, s=None, w=None, d=d)).lut_parameters for d in (7, 8, 9)}

    assert counts == {7: 20_580, 8: 30_720, 9: 43_740}


def test_fixed_matrices_are_multiplied_by_but_not_learned():
    """Given matrices that stay as they are, psi is left: 3 N S W = 6,000."""
    network = ClutNet(n=20, s=5, w=20, d=33)
    counts = cost(network, fixed_matrices=True)

    assert counts == (6_000, 292_541 - 21_945, cost(network).multiply_adds)


@pytest.mark.parametrize(
    ("s", "w", "expected"),
    [
        (None, None, 2 * 5**3),
        (3, None, 2 * 3 * 5**2 + 3 * 5**3),
        (None, 4, 2 * 5 * 4 + 5 * 4 * 5**2),
        (3, 4, 2 * 3 * 4 + 3 * 4 * 5**2 + 3 * 5**3),
    ],
)
def test_the_multiply_adds_of_each_form(s, w, expected):
    """Given N = 2 and D = 5, each channel is fused while compressed, then W undone, then S."""
    assert multiply_adds(2, s, w, 5) == 3 * expected
