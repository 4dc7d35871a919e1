"""Names of enhanced images, and the formats that their suffixes stand for."""

from __future__ import annotations

from pathlib import PurePosixPath

from app.imaging.codecs import ImageFormat, formats_by_suffix

SUFFIXES = formats_by_suffix()


def has_suffix_of(name: str, image_format: ImageFormat) -> bool:
    """Return whether the suffix of a file name is one of the format's."""
    return SUFFIXES.get(PurePosixPath(name).suffix.lower()) is image_format


def output_name(name: str, image_format: ImageFormat) -> str:
    """Return the name of the enhanced image of a file.

    It is the name of the file, with the suffix of the format appended if its own is of another
    format. Suffixes are appended, not replaced, so that a.heic and a.bmp have different names.
    """
    return name if has_suffix_of(name, image_format) else f"{name}.{image_format.value}"


def possible_output_names(name: str) -> list[str]:
    """Return every name that `output_name` returns for a file, in any format."""
    return [name, *(f"{name}.{it.value}" for it in ImageFormat if it.encodable)]
