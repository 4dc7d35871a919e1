"""Previews: the original beside the result, at a small size."""

from __future__ import annotations

from dataclasses import replace

import av
from av.video.frame import VideoFrame

from app.video.source import FrameFormat

WIDTH = 960  # of each half, at most


class Preview:
    """Joins frames and their copies.

    Attributes:
        half: the format of the frames that are joined.
        layout: the format of the joined frames.
    """

    def __init__(self, layout: FrameFormat, rotation: int) -> None:
        """Choose the size.

        Args:
            layout: the format of the frames of the video.
            rotation: degrees counterclockwise by which players turn the video: of a video that
                is turned, the halves are above each other, so that they are shown beside it.
        """
        scale = min(1.0, WIDTH / layout.width)
        width, height = (max(2, round(it * scale / 2) * 2) for it in (layout.width, layout.height))
        self.half = replace(layout, width=width, height=height)
        self._stacked = rotation % 180 != 0
        self._swapped = rotation % 360 in {90, 180}
        if self._stacked:
            self.layout = replace(self.half, height=2 * height)
        else:
            self.layout = replace(self.half, width=2 * width)

    def join(self, before: VideoFrame, after: VideoFrame) -> VideoFrame:
        """Return both frames, in the format `half`, in one that has the times of `after`."""
        joined = av.VideoFrame(self.layout.width, self.layout.height, self.layout.name)
        first, second = (after, before) if self._swapped else (before, after)
        for target, left, right in zip(
            *(it(frame) for it, frame in (
                (self.layout.planes, joined), (self.half.planes, first), (self.half.planes, second)
            )), strict=True
        ):  # fmt: skip
            height, width = left.shape
            target[:height, :width] = left
            if self._stacked:
                target[height:] = right
            else:
                target[:, width:] = right
        joined.pts, joined.time_base, joined.duration = after.pts, after.time_base, after.duration
        return joined
