"""An image before it is decoded: its format, its header and its limits."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Concatenate, Final, ParamSpec, TypeVar

from PIL.Image import DecompressionBombError

from app.errors import (
    AnimatedImage,
    DamagedImage,
    NotAnImage,
    Problem,
    TooManyPixels,
    TooMuchMetadata,
)
from app.imaging.codecs import ImageFormat, describe_unknown, detect_format
from app.imaging.colour import LARGEST_SRGB, is_srgb
from app.imaging.raster import FormatError, Header
from app.imaging.sandbox import Budget, Sandbox, run_in
from app.policies import Limits

log = logging.getLogger("clut")

P = ParamSpec("P")
R = TypeVar("R")

FIRST_FRAME: Final = "first-frame"  # the note of a still image that an animation began with

_CMYK = 4  # channels of a JPEG
# Bytes for each pixel, by the bits of a sample: the most that `benchmarks.peak` measured for
# expensive kinds of images (8 bits: reduced; 16 bits: with alpha, an ICC profile, and reduced).
_PEAK_BYTES = {8: 18, 16: 24}
_ANIMATION_BYTES = 120  # for each pixel of the canvas: AVIF with alpha; others take half of it
_RESULT_COPIES = 3  # of an animation: it grows in the sandbox, and is received from there
_FRAME_BYTES = 2048  # that the container of a frame takes at most, with a palette
_BODY_COPIES = 3  # sent to the sandbox, received there, and read by a library
_ALLOWANCE = 1.5  # address space for each byte of the peak: decoders reserve skipped parts, too
_SLACK = 128 << 20  # bytes for the working memory of decoders
_ANY_BODY_PIXELS = 4_000_000  # that a body of any length may have
_BASE_CPU_SECONDS = 1.0
_CPU_SECONDS_A_MEGAPIXEL = 0.5  # the slowest kind of image, 16 bits with a wide gamut, takes 0.25
_HEADER_BUDGET = Budget(memory=256 << 20, cpu_seconds=1.0)


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """The bytes of an image and its header.

    Attributes:
        body: the file.
        format: by its content.
        header: its header.
        sandbox: where it is decoded, or None for this process.
        deadline: on the clock of `time.monotonic`, when decoding in a sandbox is ended, or None.
        max_result_bytes: that an animation may be encoded to; 0 for a still image.
    """

    body: bytes
    format: ImageFormat
    header: Header
    sandbox: Sandbox | None
    deadline: float | None = None
    max_result_bytes: int = 0

    @property
    def width(self) -> int:
        """Pixels across, once upright."""
        return self._shown[1 if self._is_rotated else 0]

    @property
    def height(self) -> int:
        """Pixels down, once upright."""
        return self._shown[0 if self._is_rotated else 1]

    @property
    def pixels(self) -> int:
        """The number of pixels that are stored, or that are shown if there are more."""
        return max(self.header.width * self.header.height, self._shown[0] * self._shown[1])

    @property
    def all_pixels(self) -> int:
        """The pixels of all frames together."""
        animation = self.header.animation
        return self.pixels * (1 if animation is None else animation.frames)

    @property
    def peak_bytes(self) -> int:
        """The most memory that decoding, converting, reducing and encoding take."""
        copies = 0 if self.sandbox is None else _BODY_COPIES * len(self.body)
        if self.header.animation is not None:
            result = _RESULT_COPIES * self.max_result_bytes
            return copies + result + self.pixels * _ANIMATION_BYTES
        usual = _PEAK_BYTES[8 if self.header.bits <= 8 else 16]
        return copies + self.pixels * max(usual, self.header.peak_bytes)

    def first_frame(self) -> EncodedImage:
        """Return the still image that an animation begins with."""
        notes = (*self.header.notes, FIRST_FRAME)
        return replace(self, header=replace(self.header, animation=None, notes=notes))

    def thumbnail_pixels(self, side: int) -> int:
        """Return the most pixels that `decode_reduced` decodes."""
        if self.format.codec.decode_reduced is None or self.header.bits > 8:
            return self.pixels
        # libjpeg-turbo scales by eighths: the step below would be shorter than `side`.
        eighths = min(8, math.ceil(8 * side / min(self.width, self.height)))
        return math.ceil(self.width * eighths / 8) * math.ceil(self.height * eighths / 8)

    def run(
        self, function: Callable[Concatenate[EncodedImage, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a function on this image where it may be decoded.

        Raises:
            DamagedImage: the decoder crashed, or took more memory or time than its size justifies.
            Exception: whatever the function raised.
        """
        seconds = _BASE_CPU_SECONDS + _CPU_SECONDS_A_MEGAPIXEL * self.all_pixels / 1e6
        budget = Budget(_SLACK + int(_ALLOWANCE * self.peak_bytes), seconds, self.deadline)
        return run_in(self.sandbox, budget, function, replace(self, sandbox=None), *args, **kwargs)

    @property
    def _shown(self) -> tuple[int, int]:
        """Width and height of the shown part, with square pixels, before it is turned upright.

        Where pixels are not square, the shorter distance between them counts.
        """
        shown, aspect = self.header.crop or self.header, self.header.pixel_aspect or 1
        if aspect > 1:
            return round(shown.width * aspect), shown.height
        return shown.width, round(shown.height / aspect)

    @property
    def _is_rotated(self) -> bool:
        return self.header.orientation >= 5


def probe(
    body: bytes, limits: Limits, sandbox: Sandbox | None = None, deadline: float | None = None
) -> EncodedImage:
    """Detect the format of a file and read its header.

    Args:
        body: the file.
        limits: how large it may be.
        sandbox: where untrusted files are read, all but ordinary JPEGs; None reads them in this
            process.
        deadline: on the clock of `time.monotonic`, when work in the sandbox is ended, or None.

    Raises:
        NotAnImage: it is none of the formats that are read here.
        DamagedImage: its header cannot be read.
        TooManyPixels: it has more than `limits.max_pixels`, or too many for its length.
        AnimatedImage: it holds several images, and is no animation that can be read.
    """
    image_format = detect_format(body)
    if image_format is None or not image_format.readable:
        raise _not_an_image(body, image_format)
    codec, budget = image_format.codec, replace(_HEADER_BUDGET, deadline=deadline)
    with decode_errors(image_format):
        header = run_in(None if codec.trusted else sandbox, budget, codec.read_header, body)
    ordinary = (
        codec.trusted
        and header.channels != _CMYK
        and header.bits == 8
        and _is_srgb(header.profile, sandbox)
    )
    source = EncodedImage(body, image_format, header, None if ordinary else sandbox, deadline)
    _check(source, limits)
    if header.animation is None:
        return source
    longest = 4 * source.all_pixels + _FRAME_BYTES * header.animation.frames
    return replace(source, max_result_bytes=min(longest, limits.max_animation_bytes))


def _is_srgb(profile: bytes | None, sandbox: Sandbox | None) -> bool:
    if profile is None:
        return True
    return len(profile) <= LARGEST_SRGB and _is_srgb_profile(profile, sandbox)


@lru_cache(maxsize=64)
def _is_srgb_profile(profile: bytes, sandbox: Sandbox | None) -> bool:
    """Compare a profile with sRGB once; most images come with one of a few profiles."""
    return run_in(sandbox, _HEADER_BUDGET, is_srgb, profile)


def readable_formats() -> list[ImageFormat]:
    """Return the formats that this installation reads."""
    return [it for it in ImageFormat if it.readable]


def _check(source: EncodedImage, limits: Limits) -> None:
    name, header = source.format.name, source.header
    if min(header.width, header.height) < 1:  # some formats store them with a sign
        raise DamagedImage(f"The {name} has no pixels.")
    if source.pixels > limits.max_pixels:
        raise TooManyPixels(
            f"The {name} has {source.width} × {source.height} pixels; "
            f"{limits.max_pixels} are accepted.",
            max_pixels=limits.max_pixels,
        )
    per_byte = _pixels_per_byte(source, limits)
    if source.pixels > pixels_by_length(source, limits):
        raise TooManyPixels(
            f"The {name} has {source.width} × {source.height} pixels in {len(source.body)} bytes; "
            f"{per_byte} pixels are accepted for each byte.",
            max_pixels_per_byte=per_byte,
        )
    _check_blocks(source, limits)
    if header.frames > 1:
        raise AnimatedImage(
            f"The {name} holds {header.frames} images. Animations are enhanced in GIF, WebP, APNG "
            "and AVIF of 8 bits; send one image.",
            frames=header.frames,
        )


def pixels_by_length(source: EncodedImage, limits: Limits) -> int:
    """Return how many pixels are accepted of a file of this length."""
    return _ANY_BODY_PIXELS + _pixels_per_byte(source, limits) * len(source.body)


def _pixels_per_byte(source: EncodedImage, limits: Limits) -> int:
    """Return how many pixels are accepted for each byte of a file.

    Scans in black and white are dense: an empty page has thousands of pixels in a byte.
    """
    return limits.max_pixels_per_byte * max(1, 8 // max(1, source.header.bits))


def _check_blocks(source: EncodedImage, limits: Limits) -> None:
    """Reject profiles and metadata over their limits: both cost time and memory as pixels do."""
    header = source.header
    profile = len(header.profile or b"")
    metadata = len(header.metadata.exif or b"") + len(header.metadata.xmp or b"")
    for what, size, most in (
        ("colour profile", profile, limits.max_profile_bytes),
        ("metadata", metadata, limits.max_metadata_bytes),
    ):
        if size > most:
            detail = f"The {source.format.name} has {size} bytes of {what}; {most} are accepted."
            raise TooMuchMetadata(detail, max_bytes=most)


def _not_an_image(body: bytes, image_format: ImageFormat | None) -> NotAnImage:
    accepted = [it.media_type for it in readable_formats()]
    if not body:
        return NotAnImage("The body is empty.", accepted=accepted)
    if image_format is not None:
        extra = image_format.codec.requires
        name = "HEIC or HEIF" if image_format is ImageFormat.HEIF else image_format.name
        detail = f"This is a {name}, and the server was installed without the extra `{extra}`."
        return NotAnImage(detail, accepted=accepted)
    detail = f"The body is {describe_unknown(body)}, which is not read here."
    return NotAnImage(detail, accepted=accepted)


@contextmanager
def decode_errors(image_format: ImageFormat) -> Iterator[None]:
    """Turn the exception of a decoder into a Problem.

    Raises:
        TooManyPixels: the bound of Pillow was exceeded before the size could be checked.
        DamagedImage: any other exception.
    """
    try:
        yield
    except Problem:
        raise
    except DecompressionBombError as error:
        raise TooManyPixels(f"The {image_format.name} has too many pixels.") from error
    except FormatError as error:
        raise DamagedImage(f"The {image_format.name} cannot be decoded: {error}.") from error
    except MemoryError:
        raise  # the sandbox explains it
    # Half a dozen decoders share no base class; on damaged input each also raises IndexErrors,
    # struct.errors, AssertionErrors ... so the list would be all of Exception. Their messages are
    # for programmers, so they are logged, not shown.
    except Exception as error:
        log.info("a decoder failed: %s: %s", type(error).__name__, str(error)[:200])
        detail = f"The {image_format.name} cannot be decoded: its data are damaged or cut short."
        raise DamagedImage(detail) from error
