"""The first pass over a video: thumbnails of some frames, and histograms of all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.imaging.resize import make_thumbnail
from app.jit import jit
from app.video.frames import FrameFormat
from app.video.network import LookNetwork
from app.video.source import Source
from app.video.yuv import YuvConverter

KEY_SECONDS = 0.2  # between frames whose look is predicted
FLASH_FRAMES = 4  # after which a flash of light has ended
# A change of the histogram from which a frame may begin a scene. Its look is predicted, too.
CANDIDATE = 0.12
BINS = 32
SAMPLES = 160  # of chroma on each axis of a histogram, at least

Progress = Callable[[int, int], None]
"""Receives the number of frames that are done, and of all frames as far as it is known."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result of the first pass; F frames, of which the looks of K are predicted.

    Attributes:
        times: seconds (F,), of each frame, rising.
        changes: (F,), the difference of each histogram from that of the frame before, 0..1.
        lasting: (F,), the difference of the histogram `FLASH_FRAMES` later from that of the
            frame before: the change without a flash.
        keys: (K,), the frames whose looks were predicted, rising; the first is 0.
        codes: float32 (K, C), their codes.
    """

    times: NDArray[np.float64]
    changes: NDArray[np.float32]
    lasting: NDArray[np.float32]
    keys: NDArray[np.intp]
    codes: NDArray[np.float32]


def analyse(
    source: Source,
    layout: FrameFormat,
    network: LookNetwork,
    progress: Progress,
    interval: float = KEY_SECONDS,
) -> Analysis:
    """Read all frames of a video.

    Args:
        source: the video.
        layout: the format that its frames are processed in.
        network: predicts looks.
        progress: receives the number of frames read.
        interval: seconds between frames whose look is predicted; 0 is every frame.

    Raises:
        BadVideo: the file is damaged.
    """
    converter = YuvConverter(layout.layout, layout.encoding)
    times: list[float] = []
    keys: list[int] = []
    codes: list[NDArray[np.float32]] = []
    thumbnails: list[NDArray[np.float32]] = []
    histograms = _Histograms()
    for index, frame in enumerate(source.frames()):
        planes = layout.planes(layout.convert(frame))
        times.append(float((frame.pts or 0) * (frame.time_base or 0)))
        change = histograms.add(_histogram(planes, layout.layout.bits))
        is_due = not keys or times[-1] - times[keys[-1]] >= interval - 1e-6
        if is_due or change > CANDIDATE:
            keys.append(index)
            rgb = converter.to_rgb(planes)
            thumbnails.append(make_thumbnail(rgb, network.recipe.size, network.recipe.antialias))
        if len(thumbnails) == network.batch:
            codes.append(network.encode(thumbnails))
            thumbnails.clear()
        progress(index + 1, max(index + 1, source.expected_frames))
    if thumbnails:
        codes.append(network.encode(thumbnails))
    return Analysis(
        np.array(times),
        np.array(histograms.changes, np.float32),
        np.array(histograms.finish(), np.float32),
        np.array(keys, np.intp),
        np.concatenate(codes) if codes else np.empty((0, 0), np.float32),
    )


class _Histograms:
    """Differences of histograms over time; keeps those of the last frames alone."""

    def __init__(self) -> None:
        self.changes: list[float] = []
        self._lasting: list[float] = []
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=FLASH_FRAMES + 2)

    def add(self, histogram: NDArray[np.float32]) -> float:
        """Add the histogram of the next frame; return its difference from the one before."""
        change = _difference(self._recent[-1], histogram) if self._recent else 0.0
        self.changes.append(change)
        self._recent.append(histogram)
        if len(self.changes) == FLASH_FRAMES + 1:  # no frame precedes the first
            self._lasting.append(0.0)
        elif len(self.changes) > FLASH_FRAMES + 1:
            self._lasting.append(_difference(self._recent[0], histogram))
        return change

    def finish(self) -> list[float]:
        """Return the lasting differences; for the last frames, as far as the video goes."""
        missing = len(self.changes) - len(self._lasting)
        recent = list(self._recent)
        before = [*recent[:1], *recent[:-1]][-missing:]
        self._lasting += [_difference(it, recent[-1]) for it in before]
        return self._lasting


def _difference(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return half the L1 distance of two histograms (3, BINS): the mean over luma and chroma."""
    halves = np.abs(first - second).sum(axis=1) / 2
    return float((halves[0] + max(halves[1], halves[2])) / 2)


def _histogram(planes: tuple[NDArray[Any], ...], bits: int) -> NDArray[np.float32]:
    """Count the samples of Y, Cb and Cr in bins: float32 (3, BINS), each row adds up to 1.

    A sample counts in the two nearest bins, so that a small change of the exposure is a small
    change of the histogram. Chroma has bins in the middle half of its range.
    """
    counts = np.zeros((3, BINS), np.float32)
    for row, plane in zip(counts, planes, strict=True):
        step = max(1, min(plane.shape) // SAMPLES)
        is_chroma = row is not counts[0]
        _count(plane[::step, ::step], bits, is_chroma, row)
    sums: NDArray[np.float32] = counts.sum(axis=1, keepdims=True)
    return counts / sums


@jit
def _count(plane: NDArray[Any], bits: int, is_chroma: bool, bins: NDArray[np.float32]) -> None:
    last = bins.size - 1
    scale = np.float32(last) / np.float32(1 << bits)
    offset = np.float32(0)
    if is_chroma:
        scale *= np.float32(2)
        offset = np.float32(last) / np.float32(2)
    for i in range(plane.shape[0]):
        for j in range(plane.shape[1]):
            position = min(
                max(np.float32(plane[i, j]) * scale - offset, np.float32(0)), np.float32(last)
            )
            low = min(int(position), last - 1)
            part = position - np.float32(low)
            bins[low] += np.float32(1) - part
            bins[low + 1] += part
