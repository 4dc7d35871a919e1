"""Which suffix a format has, and what an answer's file is called."""

from __future__ import annotations

from pathlib import PurePosixPath

from app.imaging.codecs import ImageFormat, formats_by_suffix

SUFFIXES = formats_by_suffix()


def has_suffix_of(name: str, image_format: ImageFormat) -> bool:
    """Whether a file's suffix is one of the format."""
    return SUFFIXES.get(PurePosixPath(name).suffix.lower()) is image_format


def output_name(name: str, image_format: ImageFormat) -> str:
    """Keeps a file's name, with another suffix behind where its own would lie.

    Behind, so that no two photographs of a folder are answered by one name: a.heic, a.bmp.
    """
    return name if has_suffix_of(name, image_format) else f"{name}.{image_format.value}"


def possible_output_names(name: str) -> list[str]:
    """All that `output_name` may call it."""
    return [name, *(f"{name}.{it.value}" for it in ImageFormat if it.encodable)]
