"""Recognising and measuring a file before it is decoded."""

from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.errors import AnimatedImage, DamagedImage, NotAnImage, TooManyPixels, TooMuchMetadata
from app.imaging.codecs import ImageFormat
from app.imaging.probe import probe
from app.policies import Limits
from tests.helpers.files import exif, one_of_each, saved, scene, source, tiff, with_chunks
from tests.helpers.heic import heic


@pytest.mark.parametrize(("name", "body"), one_of_each().items())
def test_recognises_by_bytes(name: str, body: bytes) -> None:
    """Every format is recognised, and measured upright, from its bytes alone."""
    opened = source(body)
    assert opened.format == name.split()[0]
    turned = opened.header.orientation == 6
    assert (opened.width, opened.height) == ((64, 96) if turned else (96, 64))
    assert opened.pixels == 96 * 64


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (saved(scene(), "JPEG2000"), "JPEG"),
        (b"%PDF-1.7\n" + bytes(100), "Portable Document"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(100), "MPEG-4"),
    ],
)
def test_names_what_it_refuses(body: bytes, name: str) -> None:
    """A file of another type is rejected by name, along with the accepted types."""
    with pytest.raises(NotAnImage, match=name) as rejected:
        source(body)
    assert "image/jpeg" in rejected.value.extra["accepted"]


@pytest.mark.parametrize("body", [b"", b"\0", b"hello", bytes(300), b"\xff\xd8", b"BM" + bytes(60)])
def test_rejects_unknown_formats(body: bytes) -> None:
    """Bytes that resemble nothing are rejected, not crashed on."""
    with pytest.raises(NotAnImage):
        source(body)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    """A PNG of 40,000 × 40,000 pixels in 60 bytes is rejected by its header."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    check = zlib.crc32(b"IHDR" + header)
    body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s13sI", 13, b"IHDR", header, check)
    with pytest.raises(TooManyPixels, match="40000 × 40000"):
        source(body)


@pytest.mark.parametrize("body", one_of_each().values(), ids=one_of_each())
def test_limit_holds_for_every_format(body: bytes) -> None:
    """The limit is inclusive and holds for each format."""
    assert probe(body, Limits(max_pixels=96 * 64)).pixels == 96 * 64
    with pytest.raises(TooManyPixels):
        probe(body, Limits(max_pixels=96 * 64 - 1))


def test_animations_are_refused() -> None:
    """Several frames of more than 8 bits are rejected, and counted."""
    frames = [Image.fromarray(scene() // n) for n in (1, 2, 3)]
    body = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    place = body.index(b"av1C") + 6  # the first is that of the still image
    body = body[:place] + bytes((body[place] | 0x40,)) + body[place + 1 :]
    with pytest.raises(AnimatedImage) as rejected:
        source(body)
    assert rejected.value.extra["frames"] == 3


def test_one_frame_is_no_animation() -> None:
    """A file that is animated in name, but has one frame, is a picture."""
    assert source(saved(scene(), "WEBP", save_all=True, append_images=[])).width == 96


def test_camera_raw_is_refused() -> None:
    """A raw file, a TIFF whose first page is a preview, is not enhanced as that preview."""
    with pytest.raises(NotAnImage, match="raw"):
        source(tiff(scene(), photometric="rgb", subfiletype=1))


def test_mpo_is_its_primary_image() -> None:
    """Of a phone's JPEG with further pictures behind the first, the first counts."""
    second = Image.fromarray(255 - scene())
    body = saved(scene(), "MPO", save_all=True, append_images=[second], exif=exif(6))
    assert source(body).format is ImageFormat.JPEG
    assert (source(body).width, source(body).height) == (64, 96)


def test_heic_with_several_pictures_is_its_primary() -> None:
    """Of a HEIC with several top-level pictures, the primary one counts."""
    assert source(heic([scene(), 255 - scene()], primary=1)).header.frames == 1


def test_zero_pixels_are_damage() -> None:
    """A header without width is damage, not an empty result."""
    body = bytearray(saved(scene(), "BMP"))
    body[18:22] = bytes(4)
    with pytest.raises(DamagedImage):
        source(bytes(body))


def test_heic_without_the_extra() -> None:
    """Where pi_heif is not installed, a HEIC is rejected with the reason and not listed."""
    program = (
        "import sys; sys.modules['pi_heif'] = None\n"
        "from app.errors import NotAnImage\n"
        "from app.imaging.probe import Limits, probe\n"
        "try: probe(sys.stdin.buffer.read(), Limits())\n"
        "except NotAnImage as rejected: print(rejected.detail, rejected.extra['accepted'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], input=heic([scene()]), capture_output=True, check=True
    )
    assert b"without the extra `heif`" in run.stdout
    assert b"image/heif" not in run.stdout


def test_too_many_scans_are_refused(photos: Path) -> None:
    """A progressive JPEG whose last scan comes over and over again is not decoded at all."""
    with Image.open(photos / "lake.jpg") as image:
        buffer = BytesIO()
        image.save(buffer, "JPEG", progressive=True)
    body = buffer.getvalue()
    last_scan = body[body.rindex(b"\xff\xda") : -2]
    assert probe(body, Limits()).width == 853
    with pytest.raises(DamagedImage, match="scans"):
        probe(body[:-2] + last_scan * 200 + body[-2:], Limits())


def test_padding_and_empty_chunks_cost_little() -> None:
    """Megabytes of padding before a marker, or of empty chunks, end in a problem."""
    with pytest.raises(DamagedImage):
        probe(b"\xff\xd8\xff" + b"\xff" * 5_000_000, Limits())
    empty = b"\0\0\0\0tEXt\0\0\0\0"
    with pytest.raises(DamagedImage, match="chunks"):
        probe(b"\x89PNG\r\n\x1a\n" + empty * 400_000, Limits())


@pytest.mark.parametrize("length", [0, 2])
def test_too_many_segments_are_refused(photos: Path, length: int) -> None:
    """Of a JPEG of empty segments, each took a microsecond and some memory: 30 s for 60 MB."""
    lake = (photos / "lake.jpg").read_bytes()
    empty = b"\xff\xe0" + length.to_bytes(2, "big")
    with pytest.raises(DamagedImage, match="10000 segments"):
        probe(lake[:2] + empty * 10_000 + lake[2:], Limits())
    assert probe(lake[:2] + empty * 9000 + lake[2:], Limits()).width == 853


def test_many_pages_cost_little() -> None:
    """A TIFF of empty pages is rejected for its first one."""
    pages = b"".join(struct.pack("<HI", 0, 8 + 6 * (page + 1)) for page in range(2000))
    with pytest.raises((DamagedImage, NotAnImage)):
        source(b"II*\0\x08\0\0\0" + pages + bytes(6))


@pytest.mark.parametrize(
    ("kind", "head", "megabytes", "times"),
    [
        ("zTXt", b"Comment\0\0", 100, 1),
        ("iTXt", b"Comment\0\1\0en\0\0", 100, 1),
        ("iTXt", b"XML:com.adobe.xmp\0\1\0\0\0", 100, 1),
        ("iCCP", b"profile\0\0", 100, 1),
        ("zTXt", b"one of many\0\0", 1, 5),
    ],
)
def test_compressed_text_is_bounded(kind: str, head: bytes, megabytes: int, times: int) -> None:
    """Text and profiles that inflate to more than 4 MB are rejected, and no more is inflated."""
    png = bomb = saved(scene(), "PNG")
    for _ in range(times):
        bomb = with_chunks(bomb, **{kind: head + zlib.compress(bytes(megabytes << 20), 9)})
    tracemalloc.start()
    with pytest.raises(TooMuchMetadata, match="compressed"):
        source(bomb)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    harmless = with_chunks(png, **{kind: head + zlib.compress(b"otters at a lake")})
    assert source(harmless).width == 96


@pytest.mark.parametrize("block", ["icc_profile", "exif", "xmp"])
def test_too_much_beside_the_pixels_is_refused(block: str) -> None:
    """Metadata and profiles are bounded as pixels are."""
    body = saved(scene(), "WEBP", **{block: bytes(20_000)})
    limits = Limits(max_profile_bytes=10_000, max_metadata_bytes=10_000)
    with pytest.raises(TooMuchMetadata, match="10000 are accepted"):
        probe(body, limits)
    probe(body, Limits())
