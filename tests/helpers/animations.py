"""Animations for tests: made and read by Pillow, which the service uses for neither."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from tests.helpers.files import saved, scene

WIDTH, HEIGHT = 60, 40
DURATIONS = (40, 0, 100, 250, 40)  # milliseconds
FORMATS = ("gif", "webp", "apng")
_PILLOW = {"gif": "GIF", "webp": "WEBP", "apng": "PNG", "avif": "AVIF"}


class Shown(NamedTuple):
    """An animation as a reader shows it.

    Attributes:
        frames: RGBA (F, H, W, 4).
        milliseconds: of each frame.
        plays: how often; 0 for without end.
    """

    frames: NDArray[np.uint8]
    milliseconds: list[float]
    plays: int


def moving_frames(*, transparent: bool = False) -> list[NDArray[np.uint8]]:
    """Make frames (H, W, 3 | 4): a red square that moves over a scene; a hole moves as well."""
    frames = []
    for index in range(len(DURATIONS)):
        frame = scene(WIDTH, HEIGHT)
        frame[8:16, 4 + 6 * index : 12 + 6 * index] = (200, 40, 30)
        alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        alpha[20:30, 5 * index : 5 * index + 12] = 0
        frames.append(np.dstack((frame, alpha)) if transparent else frame)
    return frames


def animation(
    image_format: str, *, transparent: bool = False, plays: int = 3, **options: object
) -> bytes:
    """Encode the frames with Pillow, which stores the changes and disposes of frames."""
    first, *others = (PilImage.fromarray(it) for it in moving_frames(transparent=transparent))
    loops = plays - 1 if image_format == "gif" else plays
    if image_format == "webp":
        options = {"lossless": True} | options
    return saved(
        first,
        _PILLOW[image_format],
        save_all=True,
        append_images=others,
        duration=list(DURATIONS),
        loop=loops,
        **options,
    )


def read_animation(body: bytes) -> Shown:
    """Read an animation with Pillow."""
    frames, durations = [], []
    with PilImage.open(BytesIO(body)) as image:
        loop = image.info.get("loop")
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            durations.append(float(image.info.get("duration", 0)))
            frames.append(np.asarray(image.convert("RGBA")))
        if image.format == "GIF":
            loop = 1 if loop is None else loop + 1 if loop else 0
    return Shown(np.stack(frames), durations, int(loop or 0))


def tiny_gif(frames: int, width: int = 1, height: int = 1, centiseconds: int = 1) -> bytes:
    """Make a GIF of many frames of one pixel each, on a canvas of any size."""
    header = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    delay = struct.pack("<H", centiseconds)
    frame = b"!\xf9\4\0" + delay + b"\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    return header + frames * frame + b";"
