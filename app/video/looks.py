"""The LUT of each frame: interpolated between the looks of a scene, switched at cuts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from app.luts.lut3d import Lut3D
from app.video.scenes import Scene

Decode = Callable[[NDArray[np.float32]], Lut3D]
"""Maps a code (C,) to the LUT at the strength that was asked for."""


class LookTrack:
    """The LUT of every frame.

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

    def at(self, frame: int) -> Lut3D:
        """Return the LUT of a frame; the same object for frames with equal looks.

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
            return first
        begin, now, end = self._times[[keys[before], frame, keys[after]]]
        second = self._key_lut(index, after)
        return _interpolate(first, second, np.float32((now - begin) / (end - begin)))

    def scene_lut(self, index: int) -> Lut3D:
        """Return the LUT of the mean look of a scene."""
        return self._decode(self.scenes[index].mean_code)

    def _index(self, frame: int) -> int:
        return bisect_right(self._starts, frame) - 1

    def _key_lut(self, scene: int, key: int) -> Lut3D:
        found = self._decoded.get((scene, key))
        if found is None:
            found = self._decode(self.scenes[scene].codes[key])
            self._decoded[scene, key] = found
        return found


def _interpolate(first: Lut3D, second: Lut3D, part: np.float32) -> Lut3D:
    """Return the LUT between two of one network; `part` is 0 for the first, 1 for the second."""
    table = first.table + part * (second.table - first.table)
    if first.shaper is None or second.shaper is None:
        return Lut3D(table)
    return Lut3D(table, first.shaper + part * (second.shaper - first.shaper))
