"""CIEDE2000 agrees with its published test data and with another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from app.luts.lut_error import ciede2000, mean_difference, srgb_to_lab

# Pairs 1, 4, 7, 9, 13, 17, 25 and 34 of Sharma, Wu and Dalal (2005), table 1.
PUBLISHED = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "expected"), PUBLISHED)
def test_published_pairs(one: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    """Both directions give the published difference to its four digits."""
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)
    assert ciede2000(np.array(other), np.array(one)) == pytest.approx(expected, abs=1e-4)


def test_random_colours_as_scikit_image_has_them() -> None:
    """Random sRGB colours, and grays among them, have the Lab and the differences of skimage."""
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 2000, 3))
    one[:200] = one[:200, :1]
    other[100:300] = other[100:300, :1]

    np.testing.assert_allclose(srgb_to_lab(one), rgb2lab(one), atol=0.02)
    expected = deltaE_ciede2000(rgb2lab(one), rgb2lab(other))
    np.testing.assert_allclose(ciede2000(srgb_to_lab(one), srgb_to_lab(other)), expected, atol=0.02)


def test_an_image_does_not_differ_from_itself() -> None:
    """Equal images differ by 0, black and white by 100."""
    image = np.random.default_rng(1).random((8, 8, 3), np.float32)

    assert mean_difference(image, image) == 0
    assert mean_difference(np.zeros((4, 4, 3)), np.ones((4, 4, 3))) == pytest.approx(100, abs=0.01)
