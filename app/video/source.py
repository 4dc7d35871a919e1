"""Reading a video: its streams, and the decoded frames with timestamps that always rise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from app.errors import BadVideo
from app.video.colour import ColourEncoding, read_encoding
from app.video.yuv import PlaneLayout, Planes

FALLBACK_RATE = Fraction(25)  # of streams that state no frame rate


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

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Return the frame in this format, writable: the same object where it fits."""
        same = _plain_name(frame.format.name) == self.name
        if not same or (frame.width, frame.height) != (self.width, self.height):
            colour_range = 2 if self.encoding.full_range else 1
            is_rgb = frame.format.is_rgb
            frame = frame.reformat(
                width=self.width,
                height=self.height,
                format=self.name,
                src_color_range=2 if is_rgb else colour_range,
                dst_color_range=colour_range,
                dst_colorspace=(1 if self.encoding.red < 0.25 else 5) if is_rgb else None,
            )
        frame.make_writable()
        return frame

    def copy(self, frame: VideoFrame) -> VideoFrame:
        """Return a copy of the planes of a frame in this format."""
        copied = av.VideoFrame(self.width, self.height, self.name)
        for target, plane in zip(self.planes(copied), self.planes(frame), strict=True):
            target[:] = plane
        return copied

    def planes(self, frame: VideoFrame) -> Planes:
        """Return views of the planes Y, Cb and Cr of a frame in this format."""
        luma, cb, cr = (_plane(frame, index, self.layout.dtype) for index in range(3))
        return luma, cb, cr


class Source:
    """An open video file; a context manager that closes it.

    Attributes:
        container: of PyAV.
        video: the stream that is enhanced: the first that is no cover picture.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            BadVideo: the file is no video.
            OSError: the file cannot be read.
        """
        self.path = path
        try:
            self.container = av.open(path, "r", metadata_errors="replace")
        except (av.error.InvalidDataError, av.error.EOFError) as error:
            raise BadVideo(f"{path}: it is no video, or damaged") from error
        moving = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not moving:
            self.container.close()
            raise BadVideo(f"{path}: it has no video stream")
        self.video: VideoStream = moving[0]
        self.video.thread_type = "AUTO"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.container.close()

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of the timestamps of the video."""
        return self.video.time_base or 1 / self.rate

    @property
    def rate(self) -> Fraction:
        """The average number of frames in a second."""
        rate = self.video.average_rate or self.video.guessed_rate
        return Fraction(rate) if rate else FALLBACK_RATE

    @property
    def expected_frames(self) -> int:
        """The number of frames that the headers announce; 0 where they do not."""
        if self.video.frames:
            return self.video.frames
        if self.video.duration:
            seconds = self.video.duration * self.time_base
        else:
            seconds = Fraction(self.container.duration or 0, av.time_base)
        return round(seconds * self.rate)

    def read(self, *others: Stream) -> Iterator[av.Packet[Stream] | VideoFrame]:
        """Yield the frames of the video, and the packets of other streams as they come.

        Frames have timestamps that rise strictly; those without one follow the frame before.

        Raises:
            BadVideo: the file is damaged.
        """
        step = max(1, round(1 / self.rate / self.time_base))
        last: int | None = None
        count = 0
        try:
            for packet in self.container.demux(self.video, *others):
                if packet.stream is not self.video:
                    if packet.dts is not None:  # the packet that ends a stream has none
                        yield packet
                    continue
                for frame in packet.decode():
                    if not isinstance(frame, VideoFrame):
                        continue
                    previous = -step if last is None else last
                    pts = previous + step if frame.pts is None else frame.pts
                    frame.pts = pts if last is None else max(pts, last + 1)
                    frame.time_base = self.time_base
                    last = frame.pts
                    count += 1
                    yield frame
        except av.error.InvalidDataError as error:
            raise BadVideo(f"{self.path}: it is damaged after frame {count}") from error

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames of the video; see `read`."""
        return (it for it in self.read() if isinstance(it, VideoFrame))


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


def find_format(name: str, among: list[str] | None = None) -> str:
    """Return the pixel format among those that can be processed which is nearest to another.

    Args:
        name: the other format.
        among: the formats that an encoder accepts; None is all that can be processed.

    Raises:
        BadVideo: an encoder accepts none of them.
    """
    plain = _plain_name(name)
    usable = [it for it in PROCESSED if among is None or it in among]
    if not usable:
        raise BadVideo("the encoder accepts no planar Y'CbCr")
    if plain in usable:
        return plain
    found, _ = av.codec.codec.find_best_pix_fmt_of_list(usable, plain)
    return str(found.name) if found else usable[0]


def _plain_name(name: str) -> str:
    """Return a pixel format without the deprecated mark of the full range."""
    return name.replace("yuvj", "yuv")


def _plane(frame: VideoFrame, index: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    plane = frame.planes[index]
    samples = np.frombuffer(plane, dtype)  # type: ignore[call-overload]  # PEP 688, from Python 3.12
    rows = samples.reshape(-1, plane.line_size // dtype.itemsize)
    view: NDArray[np.generic] = rows[: plane.height, : plane.width]
    return view


# Planar Y'CbCr whose chroma is shared by at most two pixels in each direction.
PROCESSED = [
    f"{family}{sampling}{depth}"
    for depth in ("p", "p10le", "p12le", "p16le")
    for family, sampling in (("yuv", "420"), ("yuv", "422"), ("yuv", "444"))
] + [f"yuva{sampling}{depth}" for depth in ("p", "p10le") for sampling in ("420", "444")]
