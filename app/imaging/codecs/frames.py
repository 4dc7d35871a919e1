"""Frames of animations: composed to shown frames, and reduced to their changes.

One frame, its predecessor and the canvas are in memory at a time, whatever the number of frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import ResultTooLarge
from app.imaging.raster import FormatError, Metadata, Samples

Rgba: TypeAlias = NDArray[np.uint8]  # (H, W, 4), straight alpha


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """A frame as it is stored.

    Attributes:
        left: of the canvas, in pixels.
        top: of the canvas, in pixels.
        pixels: RGBA, within the canvas.
        seconds: how long it is shown.
        over: whether it is blended with the pixels that it covers; otherwise it replaces them.
        disposal: of its area when the next frame is drawn: it stays, becomes
            transparent, or is as before.
    """

    left: int
    top: int
    pixels: Rgba
    seconds: Fraction
    over: bool = False
    disposal: Literal["keep", "clear", "restore"] = "keep"


class Frame(NamedTuple):
    """A frame as it is shown: (H, W, 3 | 4) uint8, and for how long."""

    samples: Samples
    seconds: Fraction


class Change(NamedTuple):
    """The smallest rectangle that holds all that differs from the frame before."""

    left: int
    top: int
    samples: Samples
    seconds: Fraction


@dataclass(frozen=True)
class AnimationSettings:
    """How an animation is encoded.

    Attributes:
        quality: 1..100; lossless formats ignore it.
        metadata: to write.
        profile: the ICC profile of the samples.
        frames: their number.
        plays: how often it is shown; 0 for without end.
        max_bytes: of the result.
    """

    quality: int
    metadata: Metadata
    profile: bytes
    frames: int
    plays: int
    max_bytes: int


class BoundedFile(BytesIO):
    """A file in memory that must not grow beyond a limit."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def write(self, data: Any, /) -> int:
        """Write bytes.

        Raises:
            ResultTooLarge: the file would be too long.
        """
        written = super().write(data)
        check_length(self.tell(), self._max_bytes)
        return written


def check_length(length: int, max_bytes: int) -> None:
    """Raise ResultTooLarge if an animation was encoded to more bytes than are accepted."""
    if length > max_bytes:
        raise ResultTooLarge(
            f"The result has more than {max_bytes} bytes; reduce it by max_side, or choose "
            "another format or a lower quality.",
            max_result_bytes=max_bytes,
        )


def compose(
    frames: Iterable[StoredFrame], width: int, height: int
) -> Iterator[tuple[Rgba, Fraction]]:
    """Yield the shown pixels of each frame, and for how long.

    The canvas (height, width, 4) that is yielded changes when the next frame is drawn.

    Raises:
        FormatError: a frame is not within the canvas.
    """
    canvas = np.zeros((height, width, 4), np.uint8)
    for frame in frames:
        rows, columns = frame.pixels.shape[:2]
        bottom, right = frame.top + rows, frame.left + columns
        if min(frame.top, frame.left) < 0 or bottom > height or right > width:
            raise FormatError("a frame is not within its canvas")
        area = canvas[frame.top : bottom, frame.left : right]
        before = area.copy() if frame.disposal == "restore" else None
        if frame.over:
            _blend(area, frame.pixels)
        else:
            area[...] = frame.pixels
        yield canvas, frame.seconds
        if before is not None:
            area[...] = before
        elif frame.disposal == "clear":
            area[...] = 0


def _blend(below: Rgba, above: Rgba) -> None:
    """Blend pixels over others, in place: the operator "over" for straight alpha."""
    opacity = above[..., 3:]
    np.copyto(below, above, where=opacity == 255)
    rows, columns = np.nonzero((opacity[..., 0] > 0) & (opacity[..., 0] < 255))
    if not rows.size:
        return
    front, back = (it[rows, columns].astype(np.float32) for it in (above, below))
    share = front[:, 3:]
    rest = back[:, 3:] * (1 - share / 255)
    colours = (front[:, :3] * share + back[:, :3] * rest) / (share + rest)
    below[rows, columns] = np.rint(np.hstack((colours, share + rest)))


def find_changes(frames: Iterable[Frame], step: int = 1) -> Iterator[Change]:
    """Yield all of the first frame, and the changed part of each further one.

    A frame without changes yields one pixel. Left and top are multiples of `step`.
    """
    previous: Samples | None = None
    for samples, seconds in frames:
        left, top, right, bottom = 0, 0, samples.shape[1], samples.shape[0]
        if previous is not None:
            differs = np.any(samples != previous, axis=2)
            rows, columns = np.nonzero(differs.any(axis=1))[0], np.nonzero(differs.any(axis=0))[0]
            if rows.size:
                top, bottom = int(rows[0]) // step * step, int(rows[-1]) + 1
                left, right = int(columns[0]) // step * step, int(columns[-1]) + 1
            else:
                right = bottom = 1
        area = np.ascontiguousarray(samples[top:bottom, left:right])
        yield Change(left, top, area, seconds)
        previous = samples.copy()


class Clock:
    """Rounds durations, one after the other, such that errors do not add up."""

    def __init__(self, unit: Fraction, least: int = 0) -> None:
        """Begin at 0.

        Args:
            unit: of the results, in seconds.
            least: the shortest duration above 0.
        """
        self._unit, self._least = unit, least
        self._exact, self._rounded = Fraction(0), 0

    def round(self, seconds: Fraction) -> int:
        """Return the next duration in units."""
        self._exact += seconds / self._unit
        units = max(round(self._exact) - self._rounded, self._least if seconds else 0)
        self._rounded += units
        return units


def to_rgba(samples: Samples) -> Rgba:
    """Convert gray (H, W[, 1]), gray and alpha, RGB or RGBA samples to RGBA of 8 bits."""
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if samples.ndim == 2:
        samples = samples[..., np.newaxis]
    channels = samples.shape[2]
    rgba = np.full((*samples.shape[:2], 4), 255, np.uint8)
    colours = channels - 1 + channels % 2  # 1 or 3
    rgba[..., :3] = samples[..., :colours]
    if channels > colours:
        rgba[..., 3] = samples[..., -1]
    return rgba
