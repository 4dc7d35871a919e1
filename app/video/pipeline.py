"""Frames of the second pass: looks applied to their planes, and joined to previews."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import numpy as np
from av.video.frame import VideoFrame
from cachetools import LRUCache
from numpy.typing import NDArray

from app.luts.apply import Pixels
from app.luts.lut3d import Lut3D
from app.video.encoding import Encoding
from app.video.frames import FrameFormat
from app.video.network import LookNetwork
from app.video.scenes import Blend, LookTrack
from app.video.yuv import split_fields
from app.video.yuv_lut import YuvLutBaker, blend_tables

STRIP_ROWS = 64  # of luma, that one thread takes at a time


class LookFilter:
    """Passes frames of one format through LUTs, in place, on the threads of a pool."""

    def __init__(
        self,
        layout: FrameFormat,
        prepare: Callable[[Lut3D, np.dtype[np.uint16]], Callable[[Pixels], None]],
        pool: Executor,
    ) -> None:
        """Prepare the tables of the format.

        Args:
            layout: the format of the frames.
            prepare: makes a function that passes RGB pixels through a LUT, in place.
            pool: runs the strips of a frame.
        """
        self._format, self._prepare, self._pool = layout, prepare, pool
        self._baker = YuvLutBaker(layout.layout, layout.encoding)
        self._baked: LRUCache[Lut3D, NDArray[np.uint64]] = LRUCache(2)

    def apply(self, frame: VideoFrame, look: Blend) -> None:
        """Change the colours of a frame."""
        frame.make_writable()
        table = self._bake(look.first)
        if look.part > 0:
            table = blend_tables(table, self._bake(look.second), look.part)
        layout = self._format.layout
        pictures = [self._format.planes(frame)]
        if frame.interlaced_frame and self._format.divides_into_fields:
            pictures = split_fields(pictures[0])
        strips = [strip for it in pictures for strip in layout.split(it, STRIP_ROWS)]
        for _ in self._pool.map(partial(self._baker.apply, table), strips):
            pass

    def _bake(self, lut: Lut3D) -> NDArray[np.uint64]:
        found = self._baked.get(lut)
        if found is None:
            found = self._baker.bake(self._prepare(lut, np.dtype(np.uint16)))
            self._baked[lut] = found
        return found


class FramePipeline:
    """Makes the frames to encode of the frames of a video."""

    def __init__(
        self,
        encoding: Encoding,
        track: LookTrack,
        network: LookNetwork,
        pool: Executor,
        *,
        unchanged: bool,
    ) -> None:
        """Prepare the tables.

        Args:
            encoding: states the format of the frames, and whether they are joined to previews.
            track: the looks.
            network: applies LUTs.
            pool: runs the strips of a frame.
            unchanged: whether no look is applied.
        """
        self._preview = encoding.preview
        self._layout = encoding.preview.half if encoding.preview else encoding.layout
        self._track, self._unchanged = track, unchanged
        self._filter = LookFilter(self._layout, network.applier, pool)

    def process(self, frame: VideoFrame, index: int) -> VideoFrame:
        """Return the frame to encode of the frame with this number; it has the same times."""
        frame = self._layout.convert(frame)
        before = self._layout.copy(frame) if self._preview else None
        if not self._unchanged:
            self._filter.apply(frame, self._track.at(index))
        return self._preview.join(before, frame) if self._preview and before else frame
