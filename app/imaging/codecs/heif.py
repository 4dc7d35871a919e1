"""HEIC and HEIF, read only, through the optional pi_heif (libheif and libde265)."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from app.imaging.codecs import gain_map, video_headers
from app.imaging.codecs.base import ImageCodec
from app.imaging.codecs.bmff import (
    check_boxes,
    ftyp_brands,
    primary_properties,
    read_orientation,
    read_pixel_aspect,
    repair,
)
from app.imaging.codecs.bmff_items import (
    check_image,
    read_configuration,
    read_metadata,
    read_packets,
)
from app.imaging.colour import cicp_profile
from app.imaging.hdr import read_hdr_coding
from app.imaging.raster import FormatError, Header, Raster, scale_to_16bit, to_raster, unmultiply

try:
    import pi_heif
except ImportError:  # installed without the extra `heif`
    pi_heif = None

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_ITEMS = frozenset({b"hvc1", b"grid", b"iovl", b"iden"})


def read_header(body: bytes) -> Header:
    """Read the primary image's properties; burst shots and depth maps beside it are ignored.

    Raises:
        NotAnImage: its image is coded in another way than by HEVC.
        FormatError: a part of the image is missing, or there are too many.
    """
    check_boxes(body)
    check_image(body, "A HEIF", _ITEMS)
    metadata = read_metadata(body)
    body = repair(body)
    image = _primary(body)
    width, height = image.size  # libheif turns the picture itself, so `size` is upright
    profile = image.info.get("icc_profile")
    hdr = None
    if profile is None:
        code_points = _code_points(image, body)
        profile, hdr = cicp_profile(*code_points), read_hdr_coding(*code_points)
    properties = primary_properties(body)
    aspect = read_pixel_aspect(properties)
    if aspect and read_orientation(properties) >= 5:
        aspect = 1 / aspect
    return Header(
        width=width,
        height=height,
        channels=4,
        bits=image.info["bit_depth"],
        pixel_aspect=aspect,
        profile=profile,
        hdr=hdr,
        metadata=metadata,
    )


def decode(body: bytes) -> Raster:
    """Decode the primary image, upright; 10 and 12 bits become 16."""
    image = _primary(repair(body))
    bits = image.info["bit_depth"]
    samples = np.array(image)
    raster = to_raster(samples if bits == 8 else scale_to_16bit(samples, bits))
    return unmultiply(raster) if image.premultiplied_alpha else raster


def read_gain_map(body: bytes, header: Header) -> bytes | None:
    """Return the gain map of an image of Apple's cameras, as `ImageCodec.read_gain_map` does."""
    packets = (it for it in read_packets(body) if gain_map.APPLE_NAMESPACE.encode() in it)
    try:
        image = _primary(repair(body), with_auxiliary=True)
        items = image.info["aux"].get(gain_map.APPLE_TYPE, [])
        stops = gain_map.read_apple_stops(header.metadata.exif, next(packets, None))
        if not items or stops is None:
            return None
        auxiliary = image.get_aux_image(items[0])
        width, height = auxiliary.size
        if width * height > header.width * header.height:
            return None
        raster = to_raster(np.array(auxiliary))
        return gain_map.convert_apple(raster.samples[..., 0], stops)
    # A gain map that is damaged is no reason to reject its image, whatever the library raises.
    except Exception:
        return None


def _code_points(image: pi_heif.HeifImage, body: bytes) -> tuple[int, int]:
    """Return primaries and transfer characteristics, of the container or else of the image."""
    nclx = image.info.get("nclx_profile")
    if nclx:
        return nclx["color_primaries"], nclx["transfer_characteristics"]
    with suppress(FormatError, IndexError):
        return video_headers.read_hevc_colours(read_configuration(body, b"hvcC"))
    return video_headers.UNSPECIFIED


def _primary(body: bytes, *, with_auxiliary: bool = False) -> pi_heif.HeifImage:
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = False
    pi_heif.options.AUX_IMAGES = with_auxiliary
    images = pi_heif.open_heif(body, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    return images[images.primary_index]


CODEC = ImageCodec(
    name="heif",
    media_type="image/heif",
    suffixes=(".heic", ".heif"),
    matches=lambda head: not _BRANDS.isdisjoint(ftyp_brands(head)),
    read_header=read_header,
    decode=decode,
    read_gain_map=read_gain_map,
    requires="heif" if pi_heif is None else None,
)
