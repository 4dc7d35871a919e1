"""Tone mapping of PQ and HLG; the inputs are coded by the formulas of the standards."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import imagecodecs
import numpy as np
import pytest

from app.imaging.codecs.bmff_items import read_configuration
from app.imaging.codecs.video_headers import read_av1_colours, read_hevc_colours
from app.imaging.hdr import read_hdr_coding, tone_map
from app.imaging.raster import FormatError, HdrCoding
from tests.helpers.files import photo, saved, scene, with_chunks
from tests.helpers.heic import heic

PQ, HLG, BT2020, P3 = 16, 18, 9, 12


# Of each: x and y of red, green and blue; the white of all is D65.
PRIMARIES = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "Display P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}


def to_pq(light: np.ndarray) -> np.ndarray:
    """Code light in cd/m2 by PQ in 16 bits: the inverse EOTF of SMPTE ST 2084."""
    power = (np.maximum(light, 0) / 10_000) ** 0.1593017578125
    coded = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    return np.rint(coded * 65535).astype(np.uint16)


def to_hlg(light: np.ndarray) -> np.ndarray:
    """Code light in cd/m2 by HLG in 16 bits: the inverse OOTF and the OETF of BT.2100."""
    display = np.maximum(light, 0) / 1000
    luminance = np.maximum(display @ (0.2627, 0.678, 0.0593), 1e-12)[..., None]
    scene_light = display * luminance ** (1 / 1.2 - 1)
    logarithmic = 0.17883277 * np.log(np.maximum(12 * scene_light - 0.28466892, 1e-9)) + 0.55991073
    coded = np.where(scene_light <= 1 / 12, np.sqrt(3 * scene_light), logarithmic)
    return np.rint(np.clip(coded, 0, 1) * 65535).astype(np.uint16)


def eotf_srgb(coded: np.ndarray) -> np.ndarray:
    """Return linear light."""
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def to_xyz(primaries: str) -> np.ndarray:
    """Return the matrix from linear RGB, derived as SMPTE RP 177 does."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in PRIMARIES[primaries]]).T
    white = np.array((0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290))
    return columns * np.linalg.solve(columns, white)


def light_of(srgb: np.ndarray, primaries: str) -> np.ndarray:
    """Light in cd/m2 of an SDR picture whose white is 203 cd/m2."""
    matrix = np.linalg.solve(to_xyz(primaries), to_xyz("sRGB"))
    return eotf_srgb(srgb / 255) @ matrix.T * 203


@pytest.mark.parametrize(
    ("code", "primaries"), [(BT2020, "BT.2020"), (P3, "Display P3"), (1, "sRGB")]
)
def test_sdr_in_pq_comes_back(code: int, primaries: str) -> None:
    """An image without a pixel above reference white does not change."""
    mapped = tone_map(to_pq(light_of(scene(), primaries)), HdrCoding("pq", code))
    assert np.abs(mapped / 257 - scene()).max() < 1


def test_sdr_in_hlg_comes_back() -> None:
    """The same for HLG, whose reference white is at 75 %."""
    mapped = tone_map(to_hlg(light_of(scene(), "BT.2020")), HdrCoding("hlg", BT2020))
    assert np.abs(mapped / 257 - scene()).max() < 1


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_highlights_are_rolled_off(transfer: int) -> None:
    """Light above white keeps its order, its hue and stays in range; dark light is untouched."""
    brightest = 1000 if transfer == PQ else 600  # HLG has no brighter red
    ramp = np.linspace(0.5, brightest, 512)[None, :, None] * np.array((1.0, 0.6, 0.3))
    coded = to_pq(ramp) if transfer == PQ else to_hlg(ramp)
    coding = read_hdr_coding(1, transfer)
    assert coding is not None
    light = eotf_srgb(tone_map(coded, coding) / 65535)[0]
    assert np.all(np.diff(light[:, 0]) > -1e-4)
    assert light[-1, 0] > 0.98
    shares = light[5:] / light[5:, :1]
    assert np.abs(shares - (1.0, 0.6, 0.3)).max() < 0.02
    dark = ramp[0, :, 0] < 50
    assert np.allclose(light[dark, 0], ramp[0, dark, 0] / 203, atol=2e-3)


def test_colours_outside_srgb_keep_their_luminance() -> None:
    """A pure green of BT.2020 becomes a paler green, not a clipped one."""
    green = to_pq(np.full((4, 4, 3), 100.0) * (0, 1, 0))
    light = eotf_srgb(tone_map(green, HdrCoding("pq", BT2020)) / 65535)[0, 0]
    assert light @ (0.2126, 0.7152, 0.0722) == pytest.approx(0.678 * 100 / 203, abs=0.01)
    assert light[1] > 2 * max(light[0], light[2])


@pytest.mark.parametrize("bits", [8, 16])
def test_png_with_cicp(bits: int) -> None:
    """A PNG that states PQ is tone mapped, and the image has a note of it."""
    coded = to_pq(light_of(scene(), "BT.2020"))
    samples = coded if bits == 16 else np.rint(coded / 257).astype(np.uint8)
    body = with_chunks(imagecodecs.png_encode(samples), cICP=bytes((BT2020, PQ, 0, 1)))
    image = photo(body)
    assert image.notes == ("tone-mapped",)
    assert image.pixels.dtype == samples.dtype
    off = np.abs(image.pixels / (257 if bits == 16 else 1) - scene())
    assert off.mean() < (0.1 if bits == 16 else 2)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_avif(transfer: int) -> None:
    """A 10-bit AVIF in BT.2020 is tone mapped."""
    coded = (to_pq if transfer == PQ else to_hlg)(light_of(scene(), "BT.2020"))
    body = imagecodecs.avif_encode(coded >> 6, level=100, bitspersample=10, transfer=transfer)
    at = body.index(b"nclx") + 4
    primaries_and_transfer = struct.pack(">HH", BT2020, transfer)
    body = body[:at] + primaries_and_transfer + body[at + 4 :]
    assert np.abs(photo(body).pixels / 257 - scene()).mean() < 3


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_avif_whose_colours_are_in_the_bitstream_alone(transfer: int) -> None:
    """Without a colour box the sequence header counts, as in browsers."""
    body = imagecodecs.avif_encode(
        to_pq(light_of(scene(), "BT.2020")) >> 6,
        level=100,
        bitspersample=10,
        primaries=BT2020,
        transfer=transfer,
    )
    bare = body.replace(b"colrnclx", b"skipnclx")
    assert bare != body
    image = photo(bare)
    assert image.notes == ("tone-mapped",)
    np.testing.assert_array_equal(image.pixels, photo(body).pixels)


def test_the_sequence_header_of_a_video() -> None:
    """Headers that are not those of still images are longer."""
    context = av.CodecContext.create("libsvtav1", "w")
    context.width, context.height, context.time_base = 96, 64, Fraction(1, 25)
    context.pix_fmt = "yuv420p10le"
    context.color_primaries, context.color_trc = BT2020, PQ
    stream = b""
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(scene(), format="rgb24").reformat(format="yuv420p10le")
        frame.pts = number
        stream += b"".join(bytes(packet) for packet in context.encode(frame))
    stream += b"".join(bytes(packet) for packet in context.encode(None))
    assert read_av1_colours(stream) == (BT2020, PQ)
    with pytest.raises(FormatError):
        read_av1_colours(stream[:6])


X265 = {
    "still": "",
    "lists": ":scaling-list=default",
    "video": ":keyint=30:bframes=4:ref=5:temporal-layers=3:rskip=0",
    "ranges": ":sar=2:overscan=show:videoformat=pal",
}


@pytest.mark.parametrize("options", X265.values(), ids=X265)
def test_heic_whose_colours_are_in_the_bitstream_alone(options: str) -> None:
    """Without a colour box the sequence parameters count."""
    for names, (primaries, transfer) in {
        "": (2, 2),
        ":colorprim=bt2020:transfer=smpte2084": (BT2020, PQ),
        ":colorprim=smpte432:transfer=arib-std-b67": (P3, HLG),
    }.items():
        body = heic([scene()], bits=10, coding=options + names)
        configuration = read_configuration(body, b"hvcC")
        assert read_hevc_colours(configuration) == (primaries, transfer)
        image = photo(body)
        assert image.notes == (() if transfer == 2 else ("tone-mapped",))


def test_sdr_has_no_note() -> None:
    """An ordinary image has no notes."""
    assert photo(saved(scene(), "PNG")).notes == ()
