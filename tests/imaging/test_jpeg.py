"""JPEGs as phones, editors and networks leave them; the pixels compared with Pillow's."""

from __future__ import annotations

import re
import struct
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from PIL import Image as PilImage

from app.errors import DamagedImage, NotAnImage
from app.imaging import xmp
from app.imaging.codecs import ImageFormat
from app.imaging.decode import TruncatedPolicy, decode
from app.imaging.encode import encode
from tests.helpers.files import XMP, photo, saved, scene, source

SIGNATURE = b"http://ns.adobe.com/xap/1.0/\0"
LENS = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf:Description rdf:about="" aux:Lens="FA 31"
 tiff:Orientation="3"><dc:subject>alley</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


def plain(**options: object) -> bytes:
    """Make a JPEG without metadata."""
    return saved(scene(), "JPEG", quality=95, **options)


def with_segments(*segments: tuple[int, bytes], body: bytes | None = None) -> bytes:
    """Make a JPEG with further segments after SOI."""
    body = body or plain()
    extra = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
        for marker, payload in segments
    )
    return body[:2] + extra + body[2:]


def exif_orientation(order: str, kind: int, code: str, value: int) -> bytes:
    """Make an EXIF block whose orientation is of a given type."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    field = struct.pack(order + code, value).ljust(4, b"\0")
    return magic + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + field + bytes(4)


def as_pillow_reads(body: bytes) -> np.ndarray:
    """Return the pixels that an independent decoder reads."""
    return np.asarray(PilImage.open(BytesIO(body)).convert("RGB"))


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean difference in levels of 256."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_an_orientation_that_is_not_applied_stays() -> None:
    """Text as orientation is nothing to apply, so it is not overwritten."""
    block = b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 2, b"6\0\0\0", 0)
    image = photo(with_segments((0xE1, b"Exif\0\0" + block)))
    assert image.pixels.shape == (64, 96, 3)
    assert image.metadata.exif is not None
    assert b"6\0" in image.metadata.exif


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_orientation_in_xmp_alone(encoding: str) -> None:
    """The XMP's orientation is applied where EXIF has none, in any encoding of the packet."""
    body = with_segments((0xE1, SIGNATURE + XMP.decode().encode(encoding)))
    image = photo(body)
    assert np.array_equal(image.pixels, np.rot90(as_pillow_reads(body), -1))
    assert image.metadata.xmp is not None
    assert b'tiff:Orientation="1"' in image.metadata.xmp
    assert "Anna Müller" in image.metadata.xmp.decode()


def test_exif_decides_where_xmp_differs() -> None:
    """EXIF's orientation is the one that cameras update."""
    block = exif_orientation("<", 3, "H", 8)
    body = with_segments((0xE1, b"Exif\0\0" + block), (0xE1, SIGNATURE + XMP))
    assert source(body).header.orientation == 8


def test_two_packets_become_one() -> None:
    """Properties of the second packet are added; where both have one, the first packet's stays."""
    body = with_segments((0xE1, SIGNATURE + XMP), (0xE1, SIGNATURE + LENS))
    header = source(body).header
    assert header.orientation == 6
    assert header.metadata.xmp is not None
    assert header.metadata.xmp.count(b"tiff:Orientation") == 1
    assert b"FA 31" in header.metadata.xmp
    assert b"alley" in header.metadata.xmp
    assert xmp.parse(header.metadata.xmp)


def test_a_damaged_packet_costs_only_itself() -> None:
    """Of two packets the one that can be read is kept."""
    body = with_segments((0xE1, SIGNATURE + b"<x:xmpmeta"), (0xE1, SIGNATURE + LENS))
    assert b"FA 31" in (photo(body).metadata.xmp or b"")


def test_many_packets() -> None:
    """Each further packet is compared with those before it, so only the first ones are kept."""
    packets = [
        (0xE1, SIGNATURE + LENS.replace(b"aux:Lens", b"aux:Lens%d" % number))
        for number in range(1000)
    ]
    merged = source(with_segments(*packets)).header.metadata.xmp
    assert merged is not None
    assert b"aux:Lens0" in merged
    assert 1 < merged.count(b"aux:Lens") < 100


def test_extended_xmp_is_kept_whole() -> None:
    """A packet above the 64 KB of a segment is written as extended XMP, and read again."""
    long = XMP.replace(b"Anna", b"Anna" * 30_000)
    image = photo(saved(scene(), "WEBP", xmp=long, lossless=True))
    body = encode(image, ImageFormat.JPEG, 90)
    assert body.count(b"http://ns.adobe.com/xmp/extension/\0") == 2
    again = photo(body).metadata.xmp
    assert again is not None
    assert b"Anna" * 30_000 in again
    assert b"HasExtendedXMP" not in again


@pytest.mark.parametrize("gray", [False, True])
def test_twelve_bits(gray: bool) -> None:
    """12 bits are decoded to 16, over the whole range."""
    rgb = scene().astype(np.uint16) * 16 + 8
    samples = np.ascontiguousarray(rgb[..., 0]) if gray else rgb
    body = imagecodecs.jpeg8_encode(samples, level=95, bitspersample=12)
    image = photo(body)
    assert image.pixels.dtype == np.uint16
    expected = np.repeat(samples[..., None], 3, axis=2) if gray else samples
    assert mean_difference(image.pixels / 257, expected / 16) < 2


def test_twelve_bits_cut_short() -> None:
    """A file that lacks its end marker alone is complete; others are damaged, or filled."""
    body = bytes(imagecodecs.jpeg8_encode(scene().astype(np.uint16) * 16, bitspersample=12))
    whole = photo(body).pixels
    assert np.array_equal(photo(body[:-2]).pixels, whole)
    cut = body[: len(body) // 2]
    with pytest.raises(DamagedImage, match="cut short"):
        photo(cut)
    filled = decode(source(cut), TruncatedPolicy.FILL)
    assert filled.notes == ("truncated",)
    assert np.array_equal(filled.pixels[:8], whole[:8])


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xCB, 0xCD, 0xF7])
def test_other_kinds_of_coding_are_not_supported(marker: int) -> None:
    """Lossless and hierarchical files are valid, so they are not called damaged."""
    body = plain().replace(b"\xff\xc0", bytes([0xFF, marker]), 1)
    with pytest.raises(NotAnImage, match="not supported"):
        source(body)


def test_height_by_dnl() -> None:
    """A height that is given only after the scan is used."""
    body = plain()
    at = body.index(b"\xff\xc0") + 5
    height = body[at : at + 2]
    dnl = b"\xff\xdc\0\4" + height
    late = body[:at] + b"\0\0" + body[at + 2 : -2] + dnl + body[-2:]
    assert np.array_equal(photo(late).pixels, as_pillow_reads(body))
    with pytest.raises(DamagedImage, match="states no height"):
        source(body[:at] + b"\0\0" + body[at + 2 :])


def test_a_frame_that_is_cut_short() -> None:
    """A frame header without its components is damage, with a message of ours."""
    body = re.sub(rb"\xff\xc0\0\x11.{15}", b"\xff\xc0\0\4\x08\0", plain(), count=1, flags=re.DOTALL)
    with pytest.raises(DamagedImage, match="frame header is cut short"):
        source(body)


def flat(factors: tuple[int, int, int], blocks: int) -> bytes:
    """Make a JPEG of one brightness, with any factors of its components, up to its EOI.

    Blocks are written here: the first one has a difference of 40, the others none.
    """
    body = bytearray(saved(np.zeros((64, 96, 3), np.uint8), "JPEG"))
    frame, scan = body.index(b"\xff\xc0"), body.index(b"\xff\xda")
    body[frame + 11 : frame + 18 : 3] = bytes(factors)
    body[scan + 6 : scan + 11 : 2] = bytes(3)  # all by the first Huffman tables
    bits = "1110" + "101000" + "1010" + "001010" * (blocks - 1)  # T.81, tables K.3 and K.5
    bits += "1" * (-len(bits) % 8)
    return bytes(body[: scan + 14]) + int(bits, 2).to_bytes(len(bits) // 8) + b"\xff\xd9"


def test_an_unusual_layout_that_is_cut_short() -> None:
    """One that simplejpeg does not support is complete without EOI, rejected if cut, and filled."""
    body = flat((0x42, 0x11, 0x11), 3 * 4 * 10)  # parts of 32 by 16 pixels have 10 blocks
    with pytest.raises((KeyError, ValueError)):
        simplejpeg.decode_jpeg(body)
    whole = as_pillow_reads(body)
    assert whole.min() == whole.max() > 128
    for complete in (body, body[:-2]):
        np.testing.assert_array_equal(photo(complete).pixels, whole)
    cut = source(body[:-30])
    with pytest.raises(DamagedImage):
        decode(cut)
    filled = decode(cut, TruncatedPolicy.FILL)
    assert filled.notes == ("truncated",)
    np.testing.assert_array_equal(filled.pixels[:16], whole[:16])


@pytest.mark.parametrize("progressive", [False, True])
def test_no_end_marker(progressive: bool) -> None:
    """A file that lacks nothing but EOI is complete; one that lacks more is not."""
    body = plain(progressive=progressive)
    assert np.array_equal(photo(body[:-2]).pixels, as_pillow_reads(body))
    with pytest.raises(DamagedImage):
        photo(body[:-40])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_file_is_filled_on_request(progressive: bool) -> None:
    """The present part of the image is decoded, and a note states that a part was missing."""
    body = plain(progressive=progressive)
    image = decode(source(body[: len(body) * 2 // 3]), TruncatedPolicy.FILL)
    assert image.notes == ("truncated",)
    assert mean_difference(image.pixels[:16], scene()[:16]) < 12
    whole = decode(source(body), TruncatedPolicy.FILL)
    assert whole.notes == ()
    assert np.array_equal(whole.pixels, as_pillow_reads(body))


def test_bytes_after_the_picture_are_not_counted() -> None:
    """The video of a motion photo may hold any bytes, such as those of a scan."""
    body = plain(progressive=True)
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\2" * 1000
    motion = XMP.replace(b"tiff:Orientation", b'GCamera:MotionPhoto="1" tiff:Orientation').replace(
        b"<rdf:Description",
        b'<rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"',
    )
    image = photo(with_segments((0xE1, SIGNATURE + motion), body=body) + video)
    assert np.array_equal(image.pixels, np.rot90(as_pillow_reads(body), -1))
    written = encode(image, ImageFormat.JPEG, 90)
    assert written.endswith(b"\xff\xd9")
    assert b"MotionPhoto" not in written


@pytest.mark.parametrize(
    ("factors", "kept"),
    [
        ("221212", "422"),
        ("222121", "440"),
        ("222222", "444"),
        ("221111", "420"),
        ("211111", "422"),
        ("121111", "440"),
        ("411111", "411"),
        ("421111", "420"),
        ("221211", "422"),
    ],
)
def test_subsampling_of_every_layout(factors: str, kept: str) -> None:
    """Chroma keeps its share of the samples, however the factors are written."""
    body = bytearray(plain(subsampling=2))
    at = body.index(b"\xff\xc0") + 4
    for component, factor in enumerate(re.findall("..", factors)):
        body[at + 7 + 3 * component] = int(factor, 16)
    assert source(bytes(body)).header.subsampling == kept


@pytest.mark.parametrize("quality", [5, 25, 50, 75, 90, 100])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_quality_is_read_from_the_tables(quality: int, mode: str) -> None:
    """The quality that libjpeg scaled its tables by; entries are clamped at both ends."""
    file = BytesIO()
    PilImage.new(mode, (16, 16)).save(file, "JPEG", quality=quality)
    found = source(file.getvalue()).header.quality
    assert found == pytest.approx(quality, abs=8 if quality == 5 else 1)


@pytest.mark.parametrize(("low", "high", "expected"), [(1, 3, 50), (3, 1, 45), (2, 2, 25)])
def test_the_milder_frequencies_determine_the_quality(low: int, high: int, expected: int) -> None:
    """Tables of another shape than libjpeg's are not taken for stronger damage than they do."""
    file = BytesIO()
    PilImage.new("L", (16, 16)).save(file, "JPEG", quality=50)
    table = np.array(PilImage.open(file).quantization[0]).reshape(8, 8)
    near = np.add.outer(range(8), range(8)) < 5  # the first 15 in zigzag order
    steps = (table * np.where(near, low, high)).clip(1, 255).ravel().tolist()
    other = BytesIO()
    PilImage.new("L", (16, 16)).save(other, "JPEG", qtables=[steps])
    found = source(other.getvalue()).header.quality
    assert found == pytest.approx(expected, abs=3)
