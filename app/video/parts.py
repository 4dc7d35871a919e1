"""Parts of a video, which an interrupted run leaves finished.

A part is a Matroska file of the encoded frames of a scene, or of a section of a long one. Its
timestamps count frames, a millisecond each. The packets of all parts are copied into the output,
where they have the times of the frames of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from heapq import merge
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from app.errors import BadVideo
from app.video.checkpoint import Checkpoint, complete
from app.video.encoding import Encoding
from app.video.output import Output, check_frames
from app.video.pipeline import FramePipeline
from app.video.scenes import LookTrack
from app.video.source import Source

CONTAINERS = {".mp4", ".m4v", ".mov", ".mkv", ".webm"}  # that take packets of Matroska
PART_FRAMES = 250  # at most; libx264 and libx265 begin a group of pictures as often
LEAD = 64  # the first timestamp of a part: packets are decoded before they are shown
MILLISECOND = Fraction(1, 1000)


class Part(NamedTuple):
    """A part of a video: `frames` frames from the frame with the number `first` on."""

    path: Path
    first: int
    frames: int

    @contextmanager
    def open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Open the file.

        Raises:
            BadVideo: it is damaged, at once or while its packets are read.
        """
        try:
            with av.open(self.path) as container:
                yield container, container.streams.video[0]
        except (av.error.InvalidDataError, av.error.EOFError, IndexError) as error:
            raise self.damaged() from error

    def damaged(self) -> BadVideo:
        """Return the error of a damaged file."""
        return BadVideo(f"{self.path}: it is damaged; remove it and run the command again")


class FrameTimes:
    """The times of the frames of a video, which its packets receive."""

    def __init__(self) -> None:
        """Start without frames."""
        self._times: list[int] = []
        self._durations: list[int] = []
        self._packets = 0

    def __len__(self) -> int:
        return len(self._times)

    def add(self, frame: VideoFrame) -> None:
        """Add the next frame; its time is later than those before."""
        self._times.append(frame.pts or 0)
        self._durations.append(frame.duration)

    def stamp(self, packet: av.Packet[Any], frame: int, depth: int) -> None:
        """Set the times of the next packet of a video.

        As encoders do, it lets decoding run ahead of showing by the depth.

        Args:
            packet: in the order of decoding.
            frame: the number of its frame.
            depth: the number of packets, at most, that come before one that is shown earlier.
        """
        times, order = self._times, self._packets
        depth = min(depth, len(times) - 1)
        packet.pts = times[frame]
        if order < depth:
            packet.dts = times[order] - (times[depth] - times[0])
        else:
            packet.dts = times[order - depth]
        packet.duration = self._durations[frame] or packet.duration
        self._packets += 1


def encode_parts(
    source: Source,
    pipeline: FramePipeline,
    track: LookTrack,
    encoding: Encoding,
    saved: Checkpoint,
    report: Callable[[int], None],
) -> tuple[list[Part], FrameTimes]:
    """Write the parts that are missing; return all, with the times of all frames.

    Args:
        source: is read to its end.
        pipeline: makes the frames to encode.
        track: divides the video.
        encoding: of the frames.
        saved: holds the parts.
        report: receives the number of frames that are done.
    """
    parts, times = [], FrameTimes()
    numbered = enumerate(source.frames())
    for first, frames in groupby(numbered, lambda it: track.part_start(it[0], PART_FRAMES)):
        path = saved.part(first)
        index = first
        with nullcontext() if path.exists() else PartWriter(path, encoding) as part:
            for index, frame in frames:
                times.add(frame)
                if part:
                    part.encode(pipeline.process(frame, index))
                report(index + 1)
        parts.append(Part(path, first, index + 1 - first))
    return parts, times


def join_parts(
    parts: list[Part],
    times: FrameTimes,
    encoding: Encoding,
    source: Source,
    output: Output,
    report: Callable[[int, int], None],
) -> None:
    """Copy the packets of all parts, and those of the other streams of the source.

    Args:
        parts: in order, without gaps.
        times: of the frames of the video.
        encoding: of the parts.
        source: the video, at its beginning.
        output: receives the packets.
        report: receives the number of frames that are done, and of all.
    """
    with parts[0].open() as (_, template):
        output.add_copy_of_video(encoding, template)
    packets = merge(
        ((it, True) for it in read_parts(parts, times, source.time_base)),
        ((it, False) for it in source.packets(*output.copied)),
        key=lambda it: (it[0].dts or 0) * it[0].time_base,
    )
    count = 0
    for packet, is_video in packets:
        if is_video:
            output.copy_video(packet)
            count += 1
            report(count, len(times))
        else:
            output.copy(packet)


class PartWriter:
    """Writes a part; a context manager, which gives it its name in the end."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        """Hold the frames to write."""
        self._path, self._encoding = path, encoding
        self._unfinished = path.with_suffix(".tmp")
        self._frames = self._packets = 0

    def __enter__(self) -> Self:
        self._container = av.open(self._unfinished, "w", format="matroska")
        self._stream = self._encoding.add_to(self._container, 1 / self._encoding.rate)
        return self

    def encode(self, frame: VideoFrame | None) -> None:
        """Encode the next frame; its times are ignored. None ends the part.

        Raises:
            BadVideo: the encoder rejects it, or did not return all frames in the end.
        """
        if frame is not None:
            frame.pts, frame.time_base = self._frames, 1 / self._encoding.rate
            frame.pict_type = PictureType.NONE
            self._frames += 1
        try:
            for packet in self._stream.encode(frame):
                packet.pts = (packet.pts or 0) + LEAD
                packet.dts = self._packets
                packet.time_base = MILLISECOND
                self._packets += 1
                self._container.mux(packet)
        except av.error.FFmpegError as error:
            raise BadVideo(f"{self._path}: the encoder failed: {error.strerror}") from error
        if frame is None:
            check_frames(self._path, self._frames, self._packets)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            with suppress(av.error.FFmpegError, ValueError):
                self._container.close()
            return
        self.encode(None)
        self._container.close()
        complete(self._unfinished, self._path)


def read_parts(
    parts: list[Part], times: FrameTimes, time_base: Fraction
) -> Iterator[av.Packet[Any]]:
    """Yield the packets of all parts, with the times of the video.

    Args:
        parts: in order, without gaps.
        times: of the frames of the video.
        time_base: seconds per unit of these times.

    Raises:
        BadVideo: a part is damaged.
    """
    for part in parts:
        count = 0
        with part.open() as (container, video):
            depth = video.codec_context.reorder_depth
            for packet in container.demux(video):
                if packet.pts is None:  # the packet that ends the stream
                    continue
                frame = packet.pts - LEAD
                if not 0 <= frame < part.frames:
                    raise part.damaged()
                times.stamp(packet, part.first + frame, depth)
                packet.time_base = time_base
                count += 1
                yield packet
        if count != part.frames:
            raise part.damaged()
