"""Whatever a file's colours mean, they come out as the same colours in sRGB.

The expected colours are computed from chromaticities, in float64, without any ICC library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from app.imaging.colour import cicp_profile, srgb_profile
from tests.helpers.files import photo, saved, scene, scene_16, tiff, with_chunks
from tests.helpers.heic import DISPLAY_P3, heic

D65 = (0.3127, 0.3290)
SRGB = (D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = (D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = (D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
ADOBE_GAMMA = 563 / 256

Primaries = tuple[tuple[float, float], ...]
Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def srgb_to_light(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1."""
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def light_to_srgb(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1, clipped to the gamut."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def rgb_to_xyz(primaries: Primaries) -> NDArray[np.float64]:
    """SMPTE RP 177: the matrix from linear RGB to XYZ."""
    white, *colours = [np.array((x / y, 1, (1 - x - y) / y)) for x, y in primaries]
    columns = np.stack(colours, axis=1)
    return columns * np.linalg.solve(columns, white)


def in_srgb(
    coded: NDArray[np.float64], primaries: Primaries, to_light: Curve
) -> NDArray[np.float64]:
    """Colours 0..1 of another RGB space in sRGB, 0..1."""
    matrix = np.linalg.inv(rgb_to_xyz(SRGB)) @ rgb_to_xyz(primaries)
    return light_to_srgb(to_light(coded) @ matrix.T)


def gamma(exponent: float) -> Curve:
    """Return a power curve."""
    return lambda coded: coded**exponent


def adobe_rgb() -> bytes:
    """Make a profile with Adobe RGB's primaries and curve."""
    points = [value for x, y in ADOBE for value in (x, y, 1.0)]
    profile: bytes = imagecodecs.cms_profile(
        "rgb", whitepoint=points[:3], primaries=points[3:], gamma=ADOBE_GAMMA
    )
    return profile


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_adobe_rgb(image_format: str) -> None:
    """Adobe RGB pictures in every format show the colours that their profile means."""
    lossless = {"lossless": True} if image_format == "WEBP" else {}
    lossy = image_format in ("JPEG", "AVIF")
    best = {"quality": 100, "subsampling": "4:4:4"} if lossy else {}
    body = saved(scene(), image_format, icc_profile=adobe_rgb(), **lossless, **best)
    expected = 255 * in_srgb(scene() / 255, ADOBE, gamma(ADOBE_GAMMA))
    difference = np.abs(photo(body).pixels - expected)
    assert difference.mean() < 1
    assert lossy or difference.max() <= 1.5


def test_16_bits_stay_exact() -> None:
    """16-bit colours are converted as 16-bit colours, without a detour over 8 bits or a grid."""
    body = tiff(scene_16(), photometric="rgb", iccprofile=adobe_rgb())
    expected = 65535 * in_srgb(scene_16() / 65535, ADOBE, gamma(ADOBE_GAMMA))
    difference = np.abs(photo(body).pixels - expected)
    assert difference.max() <= 64  # a quarter of one of 8 bits' levels
    assert difference.mean() < 3


def test_display_p3_profile() -> None:
    """Display P3, as phones write it, comes out right."""
    body = saved(scene(), "PNG", icc_profile=cicp_profile(12, 13))
    expected = 255 * in_srgb(scene() / 255, P3, srgb_to_light)
    assert np.abs(photo(body).pixels - expected).max() <= 1.5


def test_display_p3_heic_without_a_profile() -> None:
    """A HEIC that names Display P3 by number only comes out right."""
    expected = 255 * in_srgb(scene() / 255, P3, srgb_to_light)
    difference = np.abs(photo(heic([scene()], colour=DISPLAY_P3)).pixels - expected)
    assert difference.mean() < 1.5
    assert np.abs(scene() - expected).mean() > 4


def test_display_p3_avif_without_a_profile() -> None:
    """An AVIF that names Display P3 by number only comes out right."""
    body = imagecodecs.avif_encode(scene(), level=100, primaries=12, transfer=13)
    expected = 255 * in_srgb(scene() / 255, P3, srgb_to_light)
    assert np.abs(photo(body).pixels - expected).mean() < 1.5


def test_display_p3_png_by_number() -> None:
    """A PNG whose cICP chunk states Display P3 is converted from it, whatever its profile."""
    body = saved(scene(), "PNG", icc_profile=adobe_rgb())
    body = with_chunks(body, cICP=bytes((12, 13, 0, 1)))
    expected = 255 * in_srgb(scene() / 255, P3, srgb_to_light)
    assert np.abs(photo(body).pixels - expected).max() <= 1.5


def test_png_gamma_and_chromaticities() -> None:
    """A PNG with gAMA and cHRM instead of a profile comes out right."""
    chromaticities = [round(100_000 * value) for point in ADOBE for value in point]
    body = with_chunks(
        saved(scene(), "PNG"),
        gAMA=struct.pack(">I", round(100_000 / ADOBE_GAMMA)),
        cHRM=struct.pack(">8I", *chromaticities),
    )
    expected = 255 * in_srgb(scene() / 255, ADOBE, gamma(ADOBE_GAMMA))
    assert np.abs(photo(body).pixels - expected).max() <= 1.5


@pytest.mark.parametrize(
    "profile",
    [srgb_profile(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()],
    ids=["ours", "Pillow's"],
)
def test_srgb_profiles_change_nothing(profile: bytes) -> None:
    """A profile that means sRGB leaves every pixel alone."""
    np.testing.assert_array_equal(photo(saved(scene(), "PNG", icc_profile=profile)).pixels, scene())


@pytest.mark.parametrize(
    "profile",
    [b"x", b"x" * 500, adobe_rgb()[:200], adobe_rgb()[:-40]],
    ids=["tiny", "junk", "cut in the tags", "cut in the curves"],
)
def test_damaged_profiles_are_ignored(profile: bytes) -> None:
    """A damaged profile does not fail its picture, which then counts as sRGB."""
    np.testing.assert_array_equal(photo(saved(scene(), "PNG", icc_profile=profile)).pixels, scene())


def test_profile_for_other_channels_is_ignored() -> None:
    """An RGB picture with a gray profile counts as sRGB."""
    profile = imagecodecs.cms_profile("gray", gamma=1.8)
    np.testing.assert_array_equal(photo(saved(scene(), "PNG", icc_profile=profile)).pixels, scene())


def test_gray_profile() -> None:
    """A gray picture is converted by its gray profile."""
    gray = np.ascontiguousarray(scene()[..., 0])
    body = saved(gray, "PNG", icc_profile=imagecodecs.cms_profile("gray", gamma=1.8))
    expected = 255 * light_to_srgb((gray / 255) ** 1.8)
    assert np.abs(photo(body).pixels - expected[..., np.newaxis]).max() <= 1.5


def test_gray_picture_with_an_rgb_profile() -> None:
    """A gray picture with an RGB profile, as editors write it, is converted as RGB."""
    gray = np.ascontiguousarray(scene()[..., 0])
    body = saved(gray, "PNG", icc_profile=adobe_rgb())
    expected = 255 * light_to_srgb((gray / 255) ** ADOBE_GAMMA)
    assert np.abs(photo(body).pixels - expected[..., np.newaxis]).max() <= 1.5


def test_cmyk_without_a_profile() -> None:
    """CMYK without a profile comes out the right way round: ink darkens."""
    cmyk = Image.fromarray(scene()).convert("CMYK")
    for body in (saved(cmyk, "JPEG", quality=100, subsampling=0), saved(cmyk, "TIFF")):
        assert np.abs(photo(body).pixels.astype(int) - scene()).max() <= 6


def test_ycck_jpeg() -> None:
    """YCCK, which Photoshop writes, comes out like the CMYK that it stands for."""
    ink = np.array(Image.fromarray(scene()).convert("CMYK"))
    body = imagecodecs.jpeg8_encode(255 - ink, level=100, colorspace="cmyk", outcolorspace="ycck")
    assert np.abs(photo(body).pixels.astype(int) - scene()).mean() < 6
