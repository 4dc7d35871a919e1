"""Scenes, their smoothed looks, and the LUT of each frame, from the numbers of the first pass."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from app.luts.lut3d import Lut3D
from app.video.analysis import CANDIDATE, Analysis

CERTAIN = 0.45  # a change of the histogram that is a cut, whatever the look does
# A cut changes the histogram this many times as much as the frames around it on average: as many
# as those in PySceneDetect's AdaptiveDetector, with the same threshold.
OUTSTANDING = 3.0
NEIGHBOURS = 2  # on either side
LOOK_DISTANCE = 1.5  # 8-bit levels: a change of the look that confirms a cut
REACH = 6.0  # standard deviations after which a weight is zero in float32

LookDistance = Callable[[NDArray[np.float32], NDArray[np.float32]], float]
"""The mean difference of the LUTs of two codes, in 8-bit levels."""

Decode = Callable[[NDArray[np.float32]], Lut3D]
"""Maps a code (C,) to the LUT at the requested strength."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Frames between two cuts, and their looks.

    Attributes:
        start, stop: the first frame, and the one after the last.
        keys: (K,), the frames that have a look of their own, rising; at least one.
        codes: float32 (K, C), smoothed.
    """

    start: int
    stop: int
    keys: NDArray[np.intp]
    codes: NDArray[np.float32]

    @property
    def mean_code(self) -> NDArray[np.float32]:
        """The mean of the codes, float32 (C,)."""
        mean: NDArray[np.float32] = self.codes.mean(axis=0)
        return mean


def find_cuts(analysis: Analysis, look_distance: LookDistance) -> list[int]:
    """Return the frames that begin a scene, rising; the first is 0.

    A frame begins a scene if its histogram differs from that of the frame before, if it differs
    clearly more than those of the frames around it, which excludes motion, if the difference
    remains, which excludes flashes, and if the look changes or the difference is large.
    """
    cuts = [0]
    for index in map(int, analysis.keys):
        change = float(analysis.changes[index])
        if index == 0 or change <= CANDIDATE or analysis.lasting[index] <= CANDIDATE:
            continue
        first, last = max(1, index - NEIGHBOURS), index + NEIGHBOURS + 1
        around = np.delete(analysis.changes[first:last], index - first)
        if around.size and change < OUTSTANDING * float(around.mean()):
            continue
        if change < CERTAIN:
            position = int(np.searchsorted(analysis.keys, index))
            before, after = analysis.codes[position - 1], analysis.codes[position]
            if look_distance(before, after) < LOOK_DISTANCE:
                continue
        cuts.append(index)
    return cuts


def make_scenes(
    analysis: Analysis, cuts: list[int], smooth: float, *, constant: bool
) -> list[Scene]:
    """Divide the frames at the cuts and smooth the codes within each scene.

    Args:
        analysis: of the whole video.
        cuts: the frames that begin a scene; each has a code.
        smooth: seconds; see `smooth_codes`.
        constant: whether each scene has one look, the mean of its looks.
    """
    scenes = []
    for start, stop in zip(cuts, [*cuts[1:], len(analysis.times)], strict=True):
        inside = slice(*np.searchsorted(analysis.keys, [start, stop]))
        keys, codes = analysis.keys[inside], analysis.codes[inside]
        times = np.append(analysis.times[keys], analysis.times[stop - 1])
        if constant:
            mean = np.average(codes, axis=0, weights=_durations(times))
            scenes.append(Scene(start, stop, keys[:1], mean[np.newaxis].astype(np.float32)))
        else:
            scenes.append(Scene(start, stop, keys, smooth_codes(times, codes, smooth)))
    return scenes


def smooth_codes(
    times: NDArray[np.float64], codes: NDArray[np.float32], seconds: float
) -> NDArray[np.float32]:
    """Smooth codes over time by a Gaussian, which delays nothing and overshoots nothing.

    Args:
        times: seconds (K + 1,), of the codes and of the end; they need not be evenly spaced. A
            code has the weight of the time until the next one.
        codes: float32 (K, C).
        seconds: the standard deviation; 0 changes nothing.

    Returns:
        float32 (K, C): averages of the codes around each time.
    """
    if seconds <= 0:
        return codes
    weights = _durations(times)
    times = times[:-1]
    smoothed = np.empty_like(codes)
    bounds = np.searchsorted(times, [times - REACH * seconds, times + REACH * seconds])
    for index, (first, stop) in enumerate(bounds.T):
        distance = (times[first:stop] - times[index]) / seconds
        near = weights[first:stop] * np.exp(-0.5 * distance**2)
        smoothed[index] = near @ codes[first:stop] / near.sum()
    return smoothed


def _durations(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds (K,) from each time (K + 1,) to the next, never zero."""
    return np.maximum(np.diff(times), 1e-3)


class Blend(NamedTuple):
    """The look of a frame: `first` where `part` is 0, `second` where it is 1."""

    first: Lut3D
    second: Lut3D
    part: float


class LookTrack:
    """The look of every frame.

    Attributes:
        scenes: in order, without gaps.
    """

    def __init__(
        self, scenes: list[Scene], decode: Decode, times: NDArray[np.float64] | None = None
    ) -> None:
        """Start with no LUT decoded.

        Args:
            scenes: in order, without gaps.
            decode: makes the LUT of a code.
            times: seconds (F,) of the frames; None where each scene has one look.
        """
        self.scenes = scenes
        self._times = times
        self._starts = [scene.start for scene in scenes]
        self._decode = decode
        self._decoded: LRUCache[tuple[int, int], Lut3D] = LRUCache(4)

    def begins_scene(self, frame: int) -> bool:
        """Whether a frame is the first of a scene."""
        return self.scenes[self._index(frame)].start == frame

    def part_start(self, frame: int, longest: int) -> int:
        """Return the first frame of the part that a frame is in: parts divide scenes.

        Args:
            frame: of the video.
            longest: the number of frames of a part, at most.
        """
        start = self.scenes[self._index(frame)].start
        return start + (frame - start) // longest * longest

    def at(self, frame: int) -> Blend:
        """Return the look of a frame.

        Between two frames with looks, the tables are interpolated linearly. For networks whose
        tables are linear in the code, such as CLUT-Net, this is the table of the interpolated
        code.
        """
        index = self._index(frame)
        keys = self.scenes[index].keys
        after = int(np.searchsorted(keys, frame, side="right"))
        before = max(0, after - 1)
        first = self._key_lut(index, before)
        if after == len(keys) or frame <= keys[before] or self._times is None:
            return Blend(first, first, 0.0)
        begin, now, end = self._times[[keys[before], frame, keys[after]]]
        return Blend(first, self._key_lut(index, after), float((now - begin) / (end - begin)))

    def _index(self, frame: int) -> int:
        return bisect_right(self._starts, frame) - 1

    def _key_lut(self, scene: int, key: int) -> Lut3D:
        found = self._decoded.get((scene, key))
        if found is None:
            found = self._decode(self.scenes[scene].codes[key])
            self._decoded[scene, key] = found
        return found
