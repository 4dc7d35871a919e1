"""Images with gain maps: of libultrahdr, and as Apple's cameras write them."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.files import saved, scene
from tests.helpers.heic import heic_item
from tests.helpers.heif_container import Item, auxiliary, container

AUXILIARY = "urn:com:apple:photo:2020:aux:hdrgainmap"
HEADROOM = 4.0  # of the light of Apple's files to that of their SDR images
GAIN_MAP = np.rint(np.linspace(0, 255, 32 * 48)).reshape(32, 48).astype(np.uint8)
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


@cache
def ultra_hdr() -> bytes:
    """Make an Ultra HDR JPEG with highlights of four times white."""
    light = np.ones((64, 96, 4), np.float16)
    light[..., :3] = (scene() / 255) ** 2.2 * 4
    return bytes(imagecodecs.ultrahdr_encode(light))


def read_light(body: bytes) -> NDArray[np.float64]:
    """Read (H, W, 3) linear light, in which SDR white is 1, by libultrahdr."""
    light: NDArray[np.float64] = imagecodecs.ultrahdr_decode(body).astype(float)[..., :3]
    return light


def with_first_segment(body: bytes, marker: int, payload: bytes) -> bytes:
    """Insert a segment after SOI."""
    return body[:2] + struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload + body[2:]


def without_segments(body: bytes, signature: bytes) -> bytes:
    """Remove the segments of a signature from all images of a file."""
    while signature in body:
        start = body.index(signature) - 4
        (length,) = struct.unpack_from(">H", body, start + 2)
        body = body[:start] + body[start + 2 + length :]
    return body


def apple_jpeg(
    stated: str, *, orientation: int = 1, gain_map: NDArray[np.uint8] = GAIN_MAP
) -> bytes:
    """Make a JPEG with an index and a gain map as its second image.

    Args:
        stated: where the headroom is: "maker note", "xmp" or "nothing".
        orientation: of EXIF.
        gain_map: (H, W).
    """
    block = _exif(orientation, with_note=stated == "maker note")
    second = saved(Image.fromarray(gain_map), "JPEG", quality=100)
    second = with_first_segment(second, 0xE1, _XMP + _packet(stated == "xmp"))
    first = saved(scene(), "JPEG", quality=98, subsampling=0)
    first = with_first_segment(first, 0xE2, b"MPF\0" + bytes(80))  # an index of zeros
    return with_first_segment(first, 0xE1, b"Exif\0\0" + block) + second


def apple_heic(
    stated: str, *, gain_map: NDArray[np.uint8] = GAIN_MAP, packet: bytes = b""
) -> bytes:
    """Make a HEIC with a gain map as its auxiliary image; `packet` is the XMP of the image."""
    mime = b"\0application/rdf+xml\0"
    gray = np.dstack([gain_map] * 3)
    items = [
        heic_item(scene()),
        heic_item(gray, auxiliary(AUXILIARY), references=[(b"auxl", [0])], hidden=True),
        Item(b"mime", _packet(stated == "xmp"), references=[(b"cdsc", [1])], rest=mime),
        Item(
            b"Exif",
            bytes(4) + _exif(1, with_note=stated == "maker note"),
            references=[(b"cdsc", [0])],
        ),
    ]
    if packet:
        items.append(Item(b"mime", packet, references=[(b"cdsc", [0])], rest=mime))
    return container(b"heic", items)


def expected_apple_light() -> NDArray[np.float64]:
    """Return the light of Apple's files by Apple's formula, the gain map enlarged linearly."""
    coded = GAIN_MAP / 255
    gain = np.where(coded < 0.081, coded / 4.5, ((coded + 0.099) / 1.099) ** (1 / 0.45))
    enlarged = Image.fromarray(gain.astype(np.float32)).resize((96, 64), Image.Resampling.BILINEAR)
    sdr = np.where(scene() <= 10, scene() / 3294.6, ((scene() / 255 + 0.055) / 1.055) ** 2.4)
    light: NDArray[Any] = sdr * (1 + (HEADROOM - 1) * np.asarray(enlarged)[..., None])
    return light


def _packet(with_headroom: bool) -> bytes:
    headroom = f'HDRGainMap:HDRGainMapHeadroom="{HEADROOM}"' if with_headroom else ""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" '
        f'HDRGainMap:HDRGainMapVersion="131072" {headroom} '
        'xmlns:apdi="http://ns.apple.com/pixeldatainfo/1.0/" '
        f'apdi:AuxiliaryImageType="{AUXILIARY}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


def _exif(orientation: int, with_note: bool) -> bytes:
    """Make an EXIF block with a maker note that states a headroom of two stops."""
    # By Apple's formula: 33 is 1 and 48 is 1, so 2.303 - 0.303 stops.
    note = b"Apple iOS\0\0\1MM" + struct.pack(">H", 2)
    values = len(note) + 2 * 12 + 4
    note += struct.pack(">HHII", 33, 10, 1, values) + struct.pack(">HHII", 48, 10, 1, values)
    note += bytes(4) + struct.pack(">ii", 3, 3)
    details = struct.pack(">HHHIII", 1, 0x927C, 7, len(note), 56, 0) + note
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    entries += struct.pack(">HHII", 0x8769, 4, 1, 38)
    if not with_note:
        entries, details = entries[:12], b""
    return b"MM\0*" + struct.pack(">IH", 8, len(entries) // 12) + entries + bytes(4) + details
