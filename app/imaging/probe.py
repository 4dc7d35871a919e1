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
from app.imaging.codecs import ImageFormat, detect_format
from app.imaging.raster import Header, Raster
from app.imaging.sandbox import Sandbox, run_in
from app.policies import Limits


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A photograph's bytes and what its header says.

    Attributes:
        body: the file.
        format: what it is, judged by its bytes.
        header: its header.
        sandbox: where its decoder runs, or None for this process.
    """

    body: bytes
    format: ImageFormat
    header: Header
    sandbox: Sandbox | None

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
        if self.format.codec.decode_reduced is None:
            return self.pixels
        # libjpeg-turbo scales by eighths: the step below would be shorter than `side`.
        eighths = min(8, math.ceil(8 * side / min(self.width, self.height)))
        return math.ceil(self.width * eighths / 8) * math.ceil(self.height * eighths / 8)

    def decode(self) -> Raster:
        """Decode at full size; raises what the decoder raises."""
        return run_in(self.sandbox, self.format.codec.decode, self.body)

    @property
    def _is_rotated(self) -> bool:
        return self.header.orientation >= 5


def probe(body: bytes, limits: Limits, sandbox: Sandbox | None = None) -> EncodedImage:
    """Recognise a file by its bytes and read its header.

    Args:
        body: the file.
        limits: how large it may be.
        sandbox: where decoders run that damaged files can crash; None runs them in this process.

    Raises:
        NotAnImage: it is none of the formats that are read here.
        DamagedImage: its header cannot be read.
        TooManyPixels: it has more than `limits.max_pixels`.
        AnimatedImage: it holds several pictures.
    """
    image_format = detect_format(body)
    if image_format is None or not image_format.readable:
        raise _not_an_image(body, image_format)
    codec = image_format.codec
    own_sandbox = sandbox if codec.sandboxed else None
    with decode_errors(image_format):
        header = run_in(own_sandbox, codec.read_header, body)
    source = EncodedImage(body, image_format, header, own_sandbox)
    _check(source, limits)
    return source


def readable_formats() -> list[ImageFormat]:
    """The formats that this installation reads."""
    return [it for it in ImageFormat if it.readable]


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


def _not_an_image(body: bytes, image_format: ImageFormat | None) -> NotAnImage:
    accepted = [it.media_type for it in readable_formats()]
    if not body:
        return NotAnImage("The body is empty.", accepted=accepted)
    if image_format is not None:
        extra = image_format.codec.requires
        name = "HEIC or HEIF" if image_format is ImageFormat.HEIF else image_format.name
        detail = f"This is a {name}, and the server was installed without the extra `{extra}`."
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
