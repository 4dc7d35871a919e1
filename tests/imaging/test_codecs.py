"""The registry of image formats, and the formats that came with it."""

from __future__ import annotations

import itertools
import struct
from io import BytesIO

import imagecodecs
import numpy as np
import pillow_jxl  # noqa: F401 -- lets Pillow read and write JPEG XL
import pytest
from PIL import Image as PilImage

from app.errors import DamagedImage, NotAnImage
from app.imaging.codecs import ImageFormat, detect_format, formats_by_cost, formats_by_suffix
from app.imaging.codecs.jxl import parse_codestream_header
from app.imaging.encode import encode
from app.imaging.raster import FormatError, Metadata
from tests.helpers.files import XMP, exif, photo, ramp, saved, scene, source


def jxl(image: PilImage.Image, **options: object) -> bytes:
    """Encode by an independent encoder."""
    target = BytesIO()
    image.save(target, "JXL", **options)
    return target.getvalue()


def test_descriptors_do_not_overlap() -> None:
    """Names, media types and suffixes belong to one format each."""
    codecs = [member.codec for member in ImageFormat]
    for attribute in ("name", "media_type"):
        assert len({getattr(codec, attribute) for codec in codecs}) == len(codecs)
    suffixes = [suffix for codec in codecs for suffix in codec.suffixes]
    suffixes.remove(".png")  # which animations may have as well
    assert len(set(suffixes)) == len(suffixes)
    assert formats_by_suffix()[".png"] is ImageFormat.PNG
    assert [suffix for suffix in formats_by_suffix() if not suffix.startswith(".")] == []


def test_the_cheapest_format_is_first() -> None:
    """JPEG is encoded fastest, and no two formats have the same rank."""
    ranks = [member.codec.cost for member in formats_by_cost()]
    assert formats_by_cost()[0] is ImageFormat.JPEG
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize("image_format", formats_by_cost())
def test_what_is_written_is_detected(image_format: ImageFormat) -> None:
    """The format of a file is detected from its content."""
    body = encode(photo(saved(scene(), "PNG")), image_format, None)
    assert detect_format(body) is image_format


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (96, 54), (257, 3), (1000, 1), (40, 60)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("container", [False, True])
def test_jxl_headers_of_another_encoder(size: tuple[int, int], mode: str, container: bool) -> None:
    """The size is the one that the encoder was given, with every kind of size field."""
    body = jxl(PilImage.new(mode, size, 77), use_container=container)
    header = source(body).header
    assert (header.width, header.height, header.frames) == (*size, 1)


def test_jxl_is_read_as_by_another_decoder() -> None:
    """Our lossy file is the same picture to Pillow's plug-in, within a level of rounding."""
    body = encode(photo(saved(scene(), "PNG")), ImageFormat.JXL, 95)
    with PilImage.open(BytesIO(body)) as image:
        theirs = np.asarray(image.convert("RGB"), np.int16)
    assert np.abs(photo(body).pixels.astype(np.int16) - theirs).max() <= 1
    assert np.abs(theirs - scene().astype(np.int16)).mean() < 2


def test_lossless_jxl_of_another_encoder() -> None:
    """Every pixel and its alpha come through."""
    rgba = np.dstack([scene(), ramp()])
    decoded = photo(jxl(PilImage.fromarray(rgba), lossless=True))
    np.testing.assert_array_equal(decoded.pixels, scene())
    np.testing.assert_array_equal(decoded.alpha, ramp())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("offset", [b"", bytes(4), b"\0\0\0\6Exif\0\0"])
def test_jxl_metadata_of_another_encoder(compressed: bool, offset: bytes) -> None:
    """EXIF and XMP are read from plain boxes and from those that are compressed by Brotli."""
    block, packet = exif(1)[6:], XMP.replace(b'"6"', b'"1"')
    image = PilImage.fromarray(scene())
    options = {"exif": offset + block, "xmp": packet, "use_container": True}
    body = jxl(image, compress_metadata=compressed, **options)
    assert (b"brob" in body) == compressed
    metadata = source(body).header.metadata
    assert metadata == Metadata(block, packet)


def test_damaged_compressed_boxes_of_a_jxl_are_ignored() -> None:
    """Neither damage nor a bomb costs the image."""
    body = jxl(PilImage.fromarray(scene()), exif=exif(1)[6:], compress_metadata=True)
    start = body.index(b"brob") + 8
    bomb = imagecodecs.brotli_encode(bytes(1 << 26))
    for content in (b"\xff" * 20, bomb):
        end = start + int.from_bytes(body[start - 12 : start - 8]) - 12
        size = (len(content) + 12).to_bytes(4)
        changed = body[: start - 12] + size + b"brobExif" + content + body[end:]
        assert source(changed).header.metadata.exif is None
        np.testing.assert_array_equal(photo(changed).pixels, photo(body).pixels)


def test_a_codestream_in_small_parts() -> None:
    """The header may span several jxlp boxes."""
    codestream = jxl(PilImage.fromarray(scene()), use_container=False)
    cuts = (0, 3, 5, len(codestream))
    boxes = [
        struct.pack(">I4sI", 12 + end - start, b"jxlp", number | (number == 2) << 31)
        + codestream[start:end]
        for number, (start, end) in enumerate(itertools.pairwise(cuts))
    ]
    head = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl "
    body = b"".join((head, *boxes))
    np.testing.assert_array_equal(photo(body).pixels, photo(codestream).pixels)


def test_a_cut_jxl_is_damaged() -> None:
    """Half a file is rejected, as is half a header."""
    body = jxl(PilImage.fromarray(scene()))
    with pytest.raises(DamagedImage):
        photo(body[: len(body) // 2])
    with pytest.raises(DamagedImage):
        source(body[:3])
    with pytest.raises(FormatError, match="codestream"):
        parse_codestream_header(b"not a codestream")


def gif(*frames: PilImage.Image, **options: object) -> bytes:
    """Encode frames as a GIF."""
    target = BytesIO()
    frames[0].save(target, "GIF", save_all=len(frames) > 1, append_images=frames[1:], **options)
    return target.getvalue()


def test_a_still_gif() -> None:
    """Its pixels are those of its palette."""
    image = PilImage.fromarray(scene()).quantize(64)
    decoded = photo(gif(image))
    np.testing.assert_array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    assert decoded.alpha is None


def test_a_transparent_gif() -> None:
    """Its transparent colour becomes alpha."""
    image = PilImage.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 0)
    decoded = photo(gif(image, transparency=0))
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[0, 255, 255, 255], [255, 255, 255, 255]]


def test_text_is_no_image() -> None:
    """The format is detected from the content alone."""
    with pytest.raises(NotAnImage):
        source(b"GIF")
