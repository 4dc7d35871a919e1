"""How the frames of a video are encoded, and which of their properties an encoder loses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from app.errors import BadVideo
from app.video.frames import FrameFormat, Preview, has_alpha
from app.video.options import VideoCodec
from app.video.yuv import RGB, UNSPECIFIED


@dataclass(frozen=True, eq=False)
class Encoding:
    """How frames are encoded.

    Attributes:
        codec: the encoder.
        options: of the encoder.
        layout: the format that frames are processed in.
        preview: joins them to the frames to encode; None encodes them as they are.
        rate: the average number of frames in a second.
        pixel_ratio: width of a pixel to its height; None where it is not stated.
        first: the first frame of the source, which holds rotation and colours.
    """

    codec: VideoCodec
    options: dict[str, str]
    layout: FrameFormat
    preview: Preview | None
    rate: Fraction
    pixel_ratio: Fraction | None
    first: VideoFrame

    @property
    def interlaced(self) -> bool:
        """Whether the fields of an interlaced video are encoded as such."""
        usable = self.codec.interlaces and self.preview is None
        return usable and self.layout.divides_into_fields and self.first.interlaced_frame

    @property
    def notes(self) -> list[str]:
        """The properties of the frames that the encoder loses, in sentences."""
        if self.preview is not None:
            return []
        notes, first, layout = [], self.first, self.layout
        if (first.width, first.height) != (layout.width, layout.height):
            sizes = f"{layout.width}x{layout.height} of {first.width}x{first.height} pixels"
            notes.append(f"the encoder takes even sizes: {sizes} are written")
        if has_alpha(first.format.name) and not has_alpha(layout.name):
            notes.append(f"{self.codec.encoder} does not hold transparency")
        if first.interlaced_frame and not self.interlaced:
            notes.append(f"{self.codec.encoder} does not state that the video is interlaced")
        return notes

    def add_to(self, container: OutputContainer, time_base: Fraction) -> VideoStream:
        """Add a stream to a file and open the encoder.

        Args:
            container: the file.
            time_base: seconds per unit of the timestamps of frames.

        Raises:
            ValueError: the container does not hold the codec.
            BadVideo: the encoder rejects the frames.
        """
        added = container.add_stream(self.codec.encoder, self.rate, options=self.options)
        stream = cast("VideoStream", added)
        written = self.preview.layout if self.preview else self.layout
        stream.width, stream.height, stream.pix_fmt = written.width, written.height, written.name
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.thread_type = "AUTO"
        if self.interlaced:
            stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        os.environ.setdefault("SVT_LOG", "1")  # errors alone: libsvtav1 describes its settings
        self.describe(stream)
        try:
            with _ordinary_priority():
                stream.codec_context.open(strict=False)
        except av.error.FFmpegError as error:
            raise BadVideo(f"the encoder failed: {error.strerror}") from error
        return stream

    def describe(self, stream: VideoStream) -> None:
        """State the colours of a stream, the shape of its pixels and its rate."""
        context = stream.codec_context
        context.framerate = self.rate
        if self.pixel_ratio:
            context.sample_aspect_ratio = self.pixel_ratio
        context.color_range = 2 if self.layout.encoding.full_range else 1
        context.color_trc = self.first.color_trc
        context.color_primaries = self.first.color_primaries
        own = self.first.colorspace
        # A preview has another size, from which players would conclude another matrix.
        stated = own != RGB and (own != UNSPECIFIED or self.preview is None)
        context.colorspace = own if stated else self.layout.encoding.matrix


@contextmanager
def _ordinary_priority() -> Iterator[None]:
    """Take back the real-time priority that an encoder gives to threads.

    Where the user is root, libsvtav1 runs its threads and the calling one before all other programs
    (SCHED_FIFO, priority 99), which stop; child processes and later threads inherit it.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for task in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # the thread has just ended
                if os.sched_getscheduler(int(task.name)) != policy:
                    os.sched_setscheduler(int(task.name), policy, parameters)
