"""Frames: the pixel formats that are processed, access to their planes, and previews."""

from __future__ import annotations

from dataclasses import dataclass, replace

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from app.errors import BadVideo
from app.video.yuv import FIELD_ROWS, ColourEncoding, PlaneLayout, Planes, read_encoding

PREVIEW_WIDTH = 960  # of each half, at most

# Planar Y'CbCr whose chroma is shared by at most two pixels in each direction.
PROCESSED = [
    f"{family}{sampling}{depth}"
    for depth in ("p", "p10le", "p12le")
    for family, sampling in (("yuv", "420"), ("yuv", "422"), ("yuv", "444"))
] + [
    *(f"yuva{sampling}{depth}" for depth in ("p", "p10le") for sampling in ("420", "422", "444")),
    "yuva422p12le",
    "yuva444p12le",
]


@dataclass(frozen=True)
class FrameFormat:
    """Size and pixel format of the frames that are processed.

    Attributes:
        width, height: in pixels.
        name: of the pixel format, planar Y'CbCr in the order of this machine.
        layout: of its planes.
        encoding: of its colours.
    """

    width: int
    height: int
    name: str
    layout: PlaneLayout
    encoding: ColourEncoding

    @property
    def divides_into_fields(self) -> bool:
        """Whether `split_fields` accepts the planes of an interlaced frame."""
        return self.height % FIELD_ROWS == 0

    def with_whole_chroma(self) -> FrameFormat:
        """Return the format without the last column or row whose chroma sample is incomplete."""
        width = self.width >> self.layout.horizontal << self.layout.horizontal
        height = self.height >> self.layout.vertical << self.layout.vertical
        if not (width and height):
            raise BadVideo(f"{self.width}x{self.height} pixels are too few for the encoder")
        return replace(self, width=width, height=height)

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Return the frame in this format: the same object where it fits.

        A column or row too many is left out, so that no other pixel changes; else it is scaled.
        """
        width, height = frame.width, frame.height
        if width - self.width not in {0, 1} or height - self.height not in {0, 1}:
            width, height = self.width, self.height
        same = _plain_name(frame.format.name) == self.name
        if not same or (width, height) != (frame.width, frame.height):
            colour_range = 2 if self.encoding.full_range else 1
            is_rgb = frame.format.is_rgb
            frame = frame.reformat(
                width=width,
                height=height,
                format=self.name,
                src_color_range=2 if is_rgb else colour_range,
                dst_color_range=colour_range,
                dst_colorspace=(1 if self.encoding.red < 0.25 else 5) if is_rgb else None,
            )
        return frame if (width, height) == (self.width, self.height) else self.copy(frame)

    def copy(self, frame: VideoFrame) -> VideoFrame:
        """Return a copy of a frame in this format, or of its upper left part if it is larger."""
        copied = av.VideoFrame(self.width, self.height, self.name)
        for index in range(len(copied.planes)):
            target = _plane(copied, index, self.layout.dtype)
            height, width = target.shape
            target[:] = _plane(frame, index, self.layout.dtype)[:height, :width]
        copied.pts, copied.time_base, copied.duration = frame.pts, frame.time_base, frame.duration
        return copied

    def planes(self, frame: VideoFrame) -> Planes:
        """Return views of the planes Y, Cb and Cr of a frame in this format."""
        luma, cb, cr = (_plane(frame, index, self.layout.dtype) for index in range(3))
        return luma, cb, cr


def read_format(frame: VideoFrame, name: str | None = None) -> FrameFormat:
    """Return the format that a frame is processed in.

    Args:
        frame: the first frame of a video.
        name: the pixel format to convert to; None is the frame's own, or the nearest one that
            can be processed.

    Raises:
        BadVideo: the colours are not supported, such as HDR.
    """
    own = frame.format.name
    name = name or find_format(own)
    encoding = read_encoding(
        matrix=frame.colorspace,
        transfer=frame.color_trc,
        colour_range=1 if frame.format.is_rgb else frame.color_range,
        size=(frame.width, frame.height),
        is_jpeg=own.startswith("yuvj"),
    )
    chosen = av.VideoFormat(name, 16, 16)
    bits = chosen.components[0].bits
    layout = PlaneLayout(
        bits, 16 // chosen.chroma_width(16) - 1, 16 // chosen.chroma_height(16) - 1
    )
    return FrameFormat(frame.width, frame.height, name, layout, encoding)


def find_format(name: str, among: list[str] | None = None, *, alpha: bool = True) -> str:
    """Return the pixel format among those that can be processed which is nearest to another.

    Args:
        name: the other format.
        among: the formats that an encoder accepts; None is all that can be processed.
        alpha: whether the format may hold alpha.

    Raises:
        BadVideo: an encoder accepts none of them.
    """
    plain = _plain_name(name)
    usable = [it for it in PROCESSED if among is None or it in among]
    usable = [it for it in usable if alpha or not has_alpha(it)]
    if not usable:
        raise BadVideo("the encoder accepts no planar Y'CbCr")
    if plain in usable:
        return plain
    found, _ = av.codec.codec.find_best_pix_fmt_of_list(usable, plain, has_alpha(plain))
    return str(found.name) if found else usable[0]


def has_alpha(name: str) -> bool:
    """Return whether a pixel format holds alpha."""
    return any(it.is_alpha for it in av.VideoFormat(name, 16, 16).components)


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
        scale = min(1.0, PREVIEW_WIDTH / layout.width)
        width, height = (max(2, round(it * scale / 2) * 2) for it in (layout.width, layout.height))
        self.half = replace(layout, width=width, height=height)
        self._stacked = rotation % 180 != 0
        self._swapped = rotation % 360 in {180, 270}
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


def _plain_name(name: str) -> str:
    """Return a pixel format without the deprecated mark of the full range."""
    return name.replace("yuvj", "yuv")


def _plane(frame: VideoFrame, index: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    plane = frame.planes[index]
    samples = np.frombuffer(plane, dtype)  # type: ignore[call-overload]  # PEP 688, from Python 3.12
    rows = samples.reshape(-1, plane.line_size // dtype.itemsize)
    view: NDArray[np.generic] = rows[: plane.height, : plane.width]
    return view
