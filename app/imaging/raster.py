"""Types of images: header, metadata, samples as stored, and the image made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

STRIP_PIXELS = 1 << 20


class FormatError(Exception):
    """A file does not follow its format; the message completes "The PNG cannot be decoded: it".

    Only such messages, written for clients, are shown to them; those of libraries are not.
    """


Samples = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class Metadata:
    r"""EXIF and XMP of an image as raw blocks, without the framing of a container.

    Attributes:
        exif: a TIFF structure (no leading "Exif\0\0"), or None.
        xmp: an XMP packet (UTF-8 XML), or None.
    """

    exif: bytes | None = None
    xmp: bytes | None = None


# Treatments of an image that clients may not expect; a response header lists them.
Note = Literal["first-frame", "first-page", "tone-mapped", "truncated"]

ColourSpace = Literal["gray", "rgb", "cmyk", "lab"]


@dataclass(frozen=True)
class HdrCoding:
    """How the samples of an HDR image are coded.

    Attributes:
        transfer: PQ or HLG, ITU-R BT.2100.
        primaries: the code point of ITU-T H.273.
    """

    transfer: Literal["pq", "hlg"]
    primaries: int


@dataclass(frozen=True)
class Crop:
    """The part of a stored image that is shown, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Animation:
    """The properties of the frames of a file, read before any is decoded.

    Attributes:
        frames: their number, at least 2.
        seconds: the duration of one play.
        plays: how often it is shown; 0 for without end.
    """

    frames: int
    seconds: float
    plays: int


@dataclass(frozen=True)
class Header:
    """The properties of a file, read before any pixel is decoded.

    Attributes:
        width: in pixels, as stored.
        height: in pixels, as stored.
        channels: samples of a pixel as they are stored, alpha included.
        bits: of a sample.
        frames: number of images of equal rank in the file, unless they are an animation.
        animation: the frames of an animation that can be decoded, or None.
        orientation: 1..8 as in EXIF; how to turn the stored image upright.
        crop: the part that is shown, before it is turned upright; None for all of it.
        pixel_aspect: the width of a stored pixel by its height; None for square pixels.
        profile: an ICC profile, or None for sRGB.
        hdr: how the samples are coded if they are HDR; then the profile is not used.
        metadata: EXIF and XMP as found.
        subsampling: chroma subsampling of a JPEG: "444", "422", "420", "440" or "411".
        quality: of a JPEG, 1..100, by its quantisation tables; None for other formats.
        peak_bytes: the most memory that decoding takes for each pixel, where it may be more than is
            usual for its bits.
        notes: parts of the file that are left out, as in `Image`.
    """

    width: int
    height: int
    channels: int = 3
    bits: int = 8
    frames: int = 1
    animation: Animation | None = None
    orientation: int = 1
    crop: Crop | None = None
    pixel_aspect: float | None = None
    profile: bytes | None = None
    hdr: HdrCoding | None = None
    metadata: Metadata = field(default_factory=Metadata)
    subsampling: str | None = None
    quality: float | None = None
    peak_bytes: int = 0
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class EncodeSettings:
    """How samples are encoded.

    Attributes:
        quality: 1..100; lossless formats ignore it.
        subsampling: chroma subsampling of a JPEG, as in `Header`.
        metadata: to write.
        profile: the ICC profile of the samples.
        gain_map: as `ImageCodec.read_gain_map` returns it; formats other than JPEG leave it out.
    """

    quality: int
    subsampling: str
    metadata: Metadata
    profile: bytes
    gain_map: bytes | None = None


@dataclass(frozen=True, eq=False)
class Raster:
    """Decoded samples in the colour space of the file, as stored (before orientation).

    Attributes:
        samples: (H, W, 1 | 3 | 4) uint8 or uint16 over their full range; CMYK counts
            ink, CIELAB is coded as by ICC profiles of version 4.
        space: the meaning of the channels.
        alpha: (H, W) of the same dtype, straight, or None.
    """

    samples: Samples
    space: ColourSpace
    alpha: Samples | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded image, upright and in sRGB.

    Attributes:
        pixels: (H, W, 3) uint8, or uint16 where the source has more than 8 bits; writable,
            C-contiguous, RGB.
        alpha: (H, W) of the same dtype, or None; straight (not premultiplied).
        metadata: EXIF (orientation 1) and XMP of the source.
        subsampling: chroma subsampling of a JPEG source, as in `Header`.
        gain_map: a JPEG that makes an HDR image of it, as of `ImageCodec.read_gain_map`, or None.
        notes: treatments that clients may not expect.

    Raises:
        ValueError: the arrays do not have these shapes and types.
    """

    pixels: Samples
    alpha: Samples | None
    metadata: Metadata
    subsampling: str | None = None
    gain_map: bytes | None = None
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        """Check the arrays, on which compiled loops rely: a sandbox process may have sent them."""
        shape, dtype = self.pixels.shape, self.pixels.dtype
        fits = len(shape) == 3 and shape[2] == 3 and dtype in (np.uint8, np.uint16)
        if self.alpha is not None:
            fits = fits and (self.alpha.shape, self.alpha.dtype) == (shape[:2], dtype)
        if not fits:
            raise ValueError(f"no image has {shape} samples of {dtype}")


def to_raster(decoded: Samples) -> Raster:
    """Split gray (H, W[, 1]), gray + alpha (..., 2), RGB (..., 3) or RGBA (..., 4) samples."""
    samples = decoded[..., np.newaxis] if decoded.ndim == 2 else decoded
    channels = samples.shape[2]
    colours = channels - 1 + channels % 2
    return Raster(
        np.ascontiguousarray(samples[..., :colours]),
        "gray" if colours == 1 else "rgb",
        np.ascontiguousarray(samples[..., -1]) if colours < channels else None,
    )


def unmultiply(raster: Raster) -> Raster:
    """Divide colours by their alpha, which they were multiplied with; changes them in place."""
    if raster.alpha is None:
        return raster
    full = np.iinfo(raster.alpha.dtype).max
    for rows in split_rows(*raster.alpha.shape):
        alpha = np.maximum(raster.alpha[rows], 1)[..., np.newaxis].astype(np.float32)
        raster.samples[rows] = np.minimum(np.rint(raster.samples[rows] * (full / alpha)), full)
    return raster


def split_rows(height: int, width: int) -> list[slice]:
    """Split an image into strips of rows, for steps that need several times their memory."""
    rows = max(1, STRIP_PIXELS // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def scale_to_16bit(samples: Samples, bits: int) -> Samples:
    """Stretch uint16 samples of `bits` (9..16) to 16 bits: the largest becomes 65535."""
    up, down = np.uint16(16 - bits), np.uint16(2 * bits - 16)
    return (samples << up | samples >> down).astype(np.uint16, copy=False)


def apply_orientation(samples: Samples, orientation: int) -> Samples:
    """Apply an EXIF orientation to (H, W[, C]); the result is C-contiguous."""
    if orientation == 1:
        return samples
    # Whole pixels move as single items: twice as fast as moving their channels.
    pixel = np.dtype((np.void, samples.itemsize * samples[0, 0].size))
    turned = samples.view(pixel).reshape(samples.shape[:2])
    if orientation >= 5:
        turned = turned.T
    across = -1 if orientation in (2, 3, 6, 7) else 1
    down = -1 if orientation in (3, 4, 7, 8) else 1
    turned = np.ascontiguousarray(turned[::down, ::across])
    return turned.view(samples.dtype).reshape(*turned.shape, *samples.shape[2:])
