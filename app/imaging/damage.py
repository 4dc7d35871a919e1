"""What decoders throw at hostile bytes, translated in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL.Image import DecompressionBombError

from app.errors import DamagedImage, Problem, TooManyPixels
from app.imaging.photo import ImageFormat


@contextmanager
def decoding(image_format: ImageFormat) -> Iterator[None]:
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
