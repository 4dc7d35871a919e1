"""A photograph as it came in: recognised, measured and bounded, not yet decoded."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import puremagic
from PIL.Image import DecompressionBombError

from app.errors import (
    AnimatedImage,
    DamagedImage,
    NotAnImage,
    Problem,
    TooManyPixels,
    TooMuchMetadata,
)
from app.imaging.codecs import Codec, codec_of, heif
from app.imaging.sandbox import Sandbox
from app.imaging.types import Header, ImageFormat
from app.policies import Limits

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A photograph's bytes and what its header says.

    Attributes:
        body: the file.
        format: what it is, judged by its bytes.
        header: its header.
        codec: what decodes it.
    """

    body: bytes
    format: ImageFormat
    header: Header
    codec: Codec

    @property
    def width(self) -> int:
        """Pixels across, once upright."""
        return self.header.height if self._is_rotated else self.header.width

    @property
    def height(self) -> int:
        """Pixels down, once upright."""
        return self.header.width if self._is_rotated else self.header.height

    @property
    def pixels(self) -> int:
        """How many pixels there are."""
        return self.header.width * self.header.height

    def thumbnail_pixels(self, side: int) -> int:
        """How many pixels `decode_reduced` makes at the most."""
        if self.format is not ImageFormat.JPEG:
            return self.pixels
        # libjpeg-turbo scales by eighths: the step below would be shorter than `side`.
        eighths = min(8, math.ceil(8 * side / min(self.width, self.height)))
        return math.ceil(self.width * eighths / 8) * math.ceil(self.height * eighths / 8)

    @property
    def _is_rotated(self) -> bool:
        return self.header.orientation >= 5


def probe(body: bytes, limits: Limits, isolation: Sandbox | None = None) -> EncodedImage:
    """Recognise a file by its bytes and read its header.

    Args:
        body: the file.
        limits: how large it may be.
        isolation: where decoders run that bad bytes can crash; without it, in this process.

    Raises:
        NotAnImage: it is none of the formats that are read here.
        DamagedImage: its header cannot be read.
        TooManyPixels: it has more than `limits.max_pixels`.
        AnimatedImage: it holds several pictures.
    """
    image_format = _sniff(body)
    if image_format not in readable_formats():
        raise _not_an_image(body)
    codec = codec_of(image_format, isolation)
    with decode_errors(image_format):
        header = codec.read_header(body)
    source = EncodedImage(body, image_format, header, codec)
    _check(source, limits)
    return source


def readable_formats() -> list[ImageFormat]:
    """The formats that this installation reads."""
    return [it for it in ImageFormat if it is not ImageFormat.HEIF or heif.AVAILABLE]


def _sniff(body: bytes) -> ImageFormat | None:
    if body.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if body.startswith(_TIFF_MAGICS):
        return ImageFormat.TIFF
    if body.startswith(b"BM") and int.from_bytes(body[14:18], "little") in _BMP_HEADER_SIZES:
        return ImageFormat.BMP
    return _sniff_brands(body)


def _sniff_brands(body: bytes) -> ImageFormat | None:
    """HEIF and AVIF are one container; the brands in its first box tell them apart."""
    if body[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(body[:4], "big"), 256)
    brands = {body[i : i + 4] for i in (8, *range(16, end, 4))}  # between: a version
    if brands & _AVIF_BRANDS:
        return ImageFormat.AVIF
    return ImageFormat.HEIF if brands & _HEIF_BRANDS else None


def _check(source: EncodedImage, limits: Limits) -> None:
    name, header = source.format.name, source.header
    if source.pixels > limits.max_pixels:
        raise TooManyPixels(
            f"The {name} has {source.width} × {source.height} pixels; "
            f"{limits.max_pixels} are accepted.",
            max_pixels=limits.max_pixels,
        )
    _check_blocks(source, limits)
    if source.pixels == 0:
        raise DamagedImage(f"The {name} has no pixels.")
    if header.frames > 1:
        raise AnimatedImage(
            f"The {name} holds {header.frames} pictures. Animations and multi-page files are not "
            "enhanced; send one picture.",
            frames=header.frames,
        )


def _check_blocks(source: EncodedImage, limits: Limits) -> None:
    """What is no pixel costs, too: profiles are computed with, and metadata travel on."""
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


def _not_an_image(body: bytes) -> NotAnImage:
    accepted = [it.media_type for it in readable_formats()]
    if not body:
        return NotAnImage("The body is empty.", accepted=accepted)
    if _sniff(body) is ImageFormat.HEIF:
        detail = "This is a HEIC or HEIF, and the server was installed without the extra `heif`."
        return NotAnImage(detail, accepted=accepted)
    return NotAnImage(
        f"The body is {_guess_type(body)}, which is not read here.", accepted=accepted
    )


def _guess_type(body: bytes) -> str:
    head = body[:4096]
    try:
        guess = puremagic.magic_string(head)[0]
    # Its table of formats meets bytes of every kind, and it lets their exceptions through.
    except Exception:
        return "text" if _is_text(head) else "of no known type"
    return f"probably {guess.name} ({guess.mime_type or guess.extension})"


def _is_text(head: bytes) -> bool:
    """Such as an image in base64 or JSON, which is sent by mistake."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


@contextmanager
def decode_errors(image_format: ImageFormat) -> Iterator[None]:
    """Turn a decoder's exception into a Problem.

    Raises:
        TooManyPixels: Pillow's own bound was hit, before ours could be checked.
        DamagedImage: any other exception.
    """
    try:
        yield
    except Problem:
        raise
    except DecompressionBombError as error:
        raise TooManyPixels(f"The {image_format.name} is too large: {error}") from error
    # Half a dozen decoders share no base class; on damaged input each also lets slip its own
    # IndexErrors, struct.errors, AssertionErrors ... so the list would be all of Exception.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DamagedImage(f"The {image_format.name} cannot be decoded: {reason}") from error
