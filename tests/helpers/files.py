"""Images, metadata blocks and files of every format for tests."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pillow_jxl  # noqa: F401 -- lets Pillow write JPEG XL
import tifffile
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.imaging.decode import decode
from app.imaging.probe import EncodedImage, probe
from app.imaging.raster import Image
from app.policies import Limits
from tests.helpers.heic import heic

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 tiff:Orientation="6" exif:GPSLatitude="48,12.5N" aux:SerialNumber="1234567"
 exif:PixelXDimension="4000" xmp:CreateDate="2021-07-04T12:00:00">
<xmp:Thumbnails><rdf:Alt><rdf:li>preview</rdf:li></rdf:Alt></xmp:Thumbnails>
<dc:creator><rdf:Seq><rdf:li>Anna M\xc3\xbcller</rdf:li></rdf:Seq></dc:creator>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def scene(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """Make a smooth, colourful RGB image without symmetry: (H, W, 3) uint8."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = np.stack((x * x, y, (np.sin(5 * x + 3 * y) + 1) / 2), axis=-1)
    return np.rint(20 + 215 * waves).astype(np.uint8)


def scene_16(width: int = 96, height: int = 64) -> NDArray[np.uint16]:
    """Make the same image with 16 bits whose low bits matter: (H, W, 3) uint16."""
    noise = np.random.default_rng(0).integers(0, 257, (height, width, 3), dtype=np.uint16)
    return scene(width, height).astype(np.uint16) * 256 + noise


def ramp(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """Make an alpha channel from transparent to opaque: (H, W) uint8."""
    return np.rint(np.linspace(0, 255, width * height)).astype(np.uint8).reshape(height, width)


def saved(image: PilImage.Image | NDArray[Any], image_format: str, **options: object) -> bytes:
    """Encode an image with Pillow."""
    target = BytesIO()
    picture = image if isinstance(image, PilImage.Image) else PilImage.fromarray(image)
    picture.save(target, image_format, **options)
    return target.getvalue()


def tiff(samples: NDArray[Any], **options: Any) -> bytes:
    """Encode a TIFF with tifffile."""
    target = BytesIO()
    tifffile.imwrite(target, samples, **options)
    return target.getvalue()


def exif(orientation: int = 1) -> bytes:
    """Make the EXIF of a camera: date, place, serial numbers and a maker note."""
    block = PilImage.Exif()
    block[0x010F] = "Pentax"
    block[0x0110] = "K-1"
    block[0x0112] = orientation
    block[0x0132] = "2021:07:04 12:00:01"
    details = block.get_ifd(0x8769)
    details[0x9003] = "2021:07:04 12:00:00"
    details[0x829A] = 0.004
    details[0x927C] = b"MAKER NOTE WITH OFFSETS"
    details[0xA002] = 4000
    details[0xA003] = 3000
    details[0xA430] = "Anna Mueller"
    details[0xA431] = "1234567"
    details[0xA435] = "7654321"
    place = block.get_ifd(0x8825)
    place[1], place[2] = "N", (48.0, 12.0, 30.0)
    return block.tobytes()


def read_exif(block: bytes | None) -> PilImage.Exif:
    """Parse an EXIF block with Pillow."""
    assert block is not None
    parsed = PilImage.Exif()
    parsed.load(block)
    return parsed


def source(body: bytes) -> EncodedImage:
    """Probe a file with the default limits."""
    return probe(body, Limits())


def photo(body: bytes) -> Image:
    """Decode a file."""
    return decode(source(body))


def one_of_each() -> dict[str, bytes]:
    """Make a file of every format, and of the variants that are decoded differently."""
    rgb, rgb_16 = PilImage.fromarray(scene()), scene_16()
    tags = {"exif": exif(6), "icc_profile": imagecodecs.cms_profile("adobergb")}
    return {
        "jpeg": saved(rgb, "JPEG", xmp=XMP, **tags),
        "jpeg progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg gray": saved(rgb.convert("L"), "JPEG"),
        "jpeg cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "png": saved(rgb, "PNG", **tags),
        "png palette": saved(rgb.convert("P"), "PNG"),
        "png 16": imagecodecs.png_encode(rgb_16),
        "webp": saved(rgb, "WEBP", xmp=XMP, **tags),
        "webp lossless": saved(rgb, "WEBP", lossless=True),
        "avif": saved(rgb, "AVIF", xmp=XMP, **tags),
        "tiff": tiff(scene(), photometric="rgb"),
        "tiff lzw": tiff(scene(), photometric="rgb", compression="lzw"),
        "tiff 16 tiled": tiff(rgb_16, photometric="rgb", compression="zlib", tile=(16, 16)),
        "tiff jpeg": saved(rgb, "TIFF", compression="jpeg"),
        "jxl": saved(rgb, "JXL"),
        "jxl lossless": imagecodecs.jpegxl_encode(scene(), lossless=True),
        "gif": saved(rgb, "GIF"),
        "apng": saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)]),
        "bmp": saved(rgb, "BMP"),
        "heif": heic([scene()]),
    }


def with_chunks(png: bytes, **chunks: bytes) -> bytes:
    """Insert chunks after the header of a PNG."""
    extra = b"".join(
        struct.pack(">I", len(data))
        + name.encode()
        + data
        + struct.pack(">I", zlib.crc32(name.encode() + data))
        for name, data in chunks.items()
    )
    return png[:33] + extra + png[33:]
