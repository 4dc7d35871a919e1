"""Reading a video: its streams, and the decoded frames with timestamps that always rise."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from app.errors import BadVideo

FALLBACK_RATE = Fraction(25)  # of streams that state no frame rate

# Types of streams that only players of Dolby Vision show right; they may state no transfer
# function. Dolby, "Dolby Vision Streams Within the ISO Base Media File Format".
_DOLBY_VISION = {"dvh1", "dvhe", "dva1", "dvav", "dav1"}


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
        try:
            self.video = _find_video(self.container)
        except BadVideo as error:
            self.container.close()
            raise BadVideo(f"{path}: {error}") from None
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

    def packets(self, *streams: Stream) -> Iterator[av.Packet[Stream]]:
        """Yield the packets of streams as they come.

        Raises:
            BadVideo: the file is damaged.
        """
        if not streams:
            return  # the container would yield those of all
        try:
            for packet in self.container.demux(*streams):
                if packet.dts is not None:  # the packet that ends a stream has none
                    yield packet
        except av.error.InvalidDataError as error:
            raise BadVideo(f"{self.path}: it is damaged") from error

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames of the video; see `read`."""
        return (it for it in self.read() if isinstance(it, VideoFrame))


def _find_video(container: InputContainer) -> VideoStream:
    """Return the first video stream that is no cover picture.

    Raises:
        BadVideo: there is none, or it is HDR.
    """
    moving = (
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    )
    video = next(moving, None)
    if video is None:
        raise BadVideo("it has no video stream")
    if video.codec_context.codec_tag in _DOLBY_VISION:
        raise BadVideo("it is HDR (Dolby Vision alone); looks are made for SDR")
    return video
