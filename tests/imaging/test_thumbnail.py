"""The networks' input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from app.imaging.resize import make_thumbnail


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "shape", [(480, 853), (4032, 3024), (256, 256), (100, 77), (1, 1), (5, 3), (9000, 7)]
)
@pytest.mark.parametrize("antialias", [False, True])
def test_agrees_with_torch(shape: tuple[int, int], dtype: type, antialias: bool) -> None:
    """Without antialiasing it is torch's interpolation exactly; with it, nearly."""
    full = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, full + 1, (*shape, 3), dtype=dtype)
    image = torch.from_numpy(pixels.astype(np.float32) / np.float32(full)).permute(2, 0, 1)
    expected = interpolate(
        image[None].contiguous(),
        size=(256, 256),
        mode="bilinear",
        align_corners=False,
        antialias=antialias,
    )[0]
    result = make_thumbnail(pixels, 256, antialias)
    assert result.shape == (3, 256, 256)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    tolerance = 0.05 if antialias else 1e-6
    np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=tolerance)


def test_flat_stays_flat() -> None:
    """White is exactly 1 and black exactly 0."""
    for dtype in (np.uint8, np.uint16):
        white = np.full((333, 777, 3), np.iinfo(dtype).max, dtype)
        assert (make_thumbnail(white, 64, False) == 1).all()
        assert (make_thumbnail(white * 0, 64, True) == 0).all()
