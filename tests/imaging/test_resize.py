"""Making photos fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PilImage

from app.imaging.raster import Image, Metadata
from app.imaging.resize import fit
from tests.helpers.files import ramp, scene, scene_16

PHOTO = Image(scene(400, 300), None, Metadata(xmp=b"<x/>"), "444")


def test_a_photo_that_fits_is_itself() -> None:
    """A small enough image is not changed, not even copied."""
    assert fit(PHOTO, 400) is PHOTO


@pytest.mark.parametrize(("max_side", "shape"), [(200, (150, 200)), (101, (76, 101)), (1, (1, 1))])
def test_proportions_are_kept(max_side: int, shape: tuple[int, int]) -> None:
    """The long side becomes `max_side`, the other follows, at least one pixel."""
    assert fit(PHOTO, max_side).pixels.shape == (*shape, 3)


def test_what_else_a_photo_is_stays() -> None:
    """Metadata, format and subsampling are kept."""
    small = fit(PHOTO, 100)
    assert replace(small, pixels=PHOTO.pixels).__dict__ == PHOTO.__dict__


def test_it_is_lanczos() -> None:
    """The filter is Pillow's Lanczos."""
    expected = PilImage.fromarray(scene(400, 300)).resize((200, 150), PilImage.Resampling.LANCZOS)
    np.testing.assert_array_equal(fit(PHOTO, 200).pixels, np.asarray(expected))


@pytest.mark.parametrize("with_alpha", [False, True])
def test_16_bits_agree_with_8(with_alpha: bool) -> None:
    """A 16-bit photo is resized like its 8-bit self, and stays 16-bit."""
    alpha = ramp(400, 300) // 2 + 128 if with_alpha else None
    shallow = replace(PHOTO, alpha=alpha)
    deep = replace(
        PHOTO,
        pixels=PHOTO.pixels.astype(np.uint16) * 257,
        alpha=None if alpha is None else alpha.astype(np.uint16) * 257,
    )
    small, small_deep = fit(shallow, 130), fit(deep, 130)
    assert small_deep.pixels.dtype == np.uint16
    np.testing.assert_allclose(small_deep.pixels / 257, small.pixels, atol=3)
    if with_alpha:
        np.testing.assert_allclose(small_deep.alpha / 257, small.alpha, atol=1)


@pytest.mark.parametrize("full", [255, 65535])
def test_no_halo_from_clear_pixels(full: int) -> None:
    """The colour of fully transparent pixels does not bleed into opaque ones."""
    dtype = np.uint8 if full == 255 else np.uint16
    pixels = np.zeros((64, 64, 3), dtype)
    alpha = np.full((64, 64), full, dtype)
    pixels[:, :33], pixels[:, 33:] = full, 0
    alpha[:, 33:] = 0
    small = fit(Image(pixels, alpha, Metadata()), 16)
    assert small.alpha is not None
    assert small.pixels[small.alpha > full // 10].min() >= full * 0.99


def test_deep_extremes_do_not_wrap() -> None:
    """Lanczos overshoots at hard edges; the result is clipped, not wrapped around."""
    pixels = np.zeros((64, 64, 3), np.uint16)
    pixels[:, 32:] = 65535
    small = fit(replace(PHOTO, pixels=pixels), 24).pixels
    assert (np.diff(small[:, :, 0].astype(int), axis=1) >= -6000).all()


def test_result_is_contiguous_and_writable() -> None:
    """The result can be worked on in place."""
    for photo in (
        PHOTO,
        replace(PHOTO, pixels=scene_16(400, 300)),
        replace(PHOTO, alpha=ramp(400, 300)),
    ):
        small = fit(photo, 64).pixels
        assert small.flags.c_contiguous
        assert small.flags.writeable
