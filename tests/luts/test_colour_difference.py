"""CIEDE2000 agrees with its published test data and with another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from app.luts.lut_error import Lab, ciede2000, mean_difference

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
def test_published_pairs(one: Lab, other: Lab, expected: float) -> None:
    """Both directions give the published difference to its four digits."""
    assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)
    assert ciede2000(other, one) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_random_colours_as_scikit_image_has_them(dtype: type[np.unsignedinteger]) -> None:
    """Random sRGB colours, and grays among them, differ as in scikit-image."""
    top = np.iinfo(dtype).max
    one, other = np.random.default_rng(0).integers(0, top + 1, (2, 500, 3), dtype)
    one[:200] = one[:200, :1]
    other[100:300] = other[100:300, :1]

    expected = deltaE_ciede2000(rgb2lab(one / top), rgb2lab(other / top))
    differences = [
        mean_difference(*pair) for pair in zip(one[:, None], other[:, None], strict=True)
    ]
    np.testing.assert_allclose(differences, expected, atol=0.02)
    assert mean_difference(one, other) == pytest.approx(expected.mean(), abs=0.01)


def test_an_image_does_not_differ_from_itself() -> None:
    """Equal images differ by 0, black and white by 100."""
    image = np.random.default_rng(1).integers(0, 256, (64, 3), np.uint8)

    assert mean_difference(image, image) == 0
    black, white = np.zeros((9, 3), np.uint8), np.full((9, 3), 255, np.uint8)
    assert mean_difference(black, white) == pytest.approx(100, abs=0.01)
