"""Writing a video: the encoded frames, and everything of the original that is not the picture."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from app.errors import BadVideo
from app.video.frames import FrameFormat, Preview
from app.video.options import VideoCodec
from app.video.source import Source

COPIED = {"audio", "subtitle"}  # types of streams whose packets are copied
SHORT = 2  # frames of a video to whose packets libx265 gives no time of decoding
QUICKTIME_KEYS = "com."  # metadata that MP4 and MOV hold under any name


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

    def add_to(self, container: OutputContainer, time_base: Fraction) -> VideoStream:
        """Add a stream to a file and open the encoder.

        Args:
            container: the file.
            time_base: seconds per unit of the timestamps of frames.

        Raises:
            BadVideo: the container does not hold the codec, or the encoder rejects the frames.
        """
        try:
            added = container.add_stream(self.codec.encoder, self.rate, options=self.options)
        except ValueError as error:
            raise BadVideo(f"{error}; choose another with --codec") from error
        stream = cast("VideoStream", added)
        written = self.preview.layout if self.preview else self.layout
        stream.width, stream.height, stream.pix_fmt = written.width, written.height, written.name
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.thread_type = "AUTO"
        os.environ.setdefault("SVT_LOG", "1")  # errors alone: libsvtav1 describes its settings
        self.describe(stream)
        try:
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
        context.colorspace = self.first.colorspace


class Output:
    """A video file that appears under its name when it is finished.

    A context manager: a file that is not finished when it is left is deleted.

    Attributes:
        copied: the streams of the source whose packets are to be written.
        left_out: the streams that the container does not hold, in words.
    """

    def __init__(self, path: Path, source: Source) -> None:
        """Open a temporary file beside the output.

        Raises:
            BadVideo: the suffix is that of no container.
            OSError: the file cannot be written.
        """
        self._path = path
        self._source = source
        self._streams: dict[int, Stream] = {}
        self._video: VideoStream | None = None
        self._frames = 0
        self._durations: dict[int | None, int] = {}
        self.copied: list[Stream] = []
        self.left_out: list[str] = []
        self._resources = ExitStack()
        path.parent.stat()  # whose error names the folder
        folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
        self._part = Path(self._resources.enter_context(folder)) / path.name
        try:
            self.container = av.open(self._part, "w", options=_muxer_options(source, path))
        except ValueError as error:
            self._resources.close()
            raise BadVideo(f"{path}: no container has this suffix") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._resources, suppress(av.error.FFmpegError, ValueError):
            self.container.close()  # the muxer may not be able to end what is incomplete

    def finish(self) -> None:
        """Complete the file and give it its name."""
        self.container.close()
        self._part.replace(self._path)

    def add_video(self, encoding: Encoding) -> None:
        """Add the video stream, and copies of the other streams, the metadata and the chapters.

        Raises:
            BadVideo: the container does not hold the codec, or the encoder rejects the frames.
        """
        try:
            video = encoding.add_to(self.container, self._source.time_base)
        except BadVideo as error:
            raise BadVideo(f"{self._path}: {error}") from error
        self._add_the_rest(video, encoding)

    def add_copy_of_video(self, encoding: Encoding, template: VideoStream) -> None:
        """Do as `add_video`, for packets that are encoded already, as those of another stream."""
        video = self.container.add_stream_from_template(template, opaque=True)
        video.time_base = self._source.time_base
        encoding.describe(video)
        self._add_the_rest(video, encoding)

    def _add_the_rest(self, video: VideoStream, encoding: Encoding) -> None:
        source = self._source
        self._video = video
        if "DISPLAYMATRIX" in encoding.first.side_data:
            matrix = np.frombuffer(bytes(encoding.first.side_data["DISPLAYMATRIX"]), np.int32)  # type: ignore[typeddict-item]
            video.set_display_matrix(matrix.tolist())
        _copy_description(source.video, video)
        video.metadata.pop("encoder", None)  # names the encoder of the source
        self._copy_streams()
        self.container.metadata.update(source.container.metadata)
        self.container.set_chapters(source.container.chapters())

    def encode(self, frame: VideoFrame | None, *, begins_scene: bool = False) -> None:
        """Encode a frame and write what the encoder has ready; None ends the video."""
        if self._video is None:
            raise RuntimeError("add_video was not called")
        if frame is not None:
            frame.pict_type = PictureType.I if begins_scene else PictureType.NONE
            self._frames += 1
            self._durations[frame.pts] = frame.duration
        try:
            for packet in self._video.encode(frame):
                packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
                if self._frames <= SHORT:
                    packet.dts = packet.pts
                self.container.mux(packet)
        except av.error.FFmpegError as error:
            raise BadVideo(f"{self._path}: the encoder failed: {error.strerror}") from error

    def copy(self, packet: av.Packet[Stream]) -> None:
        """Write a packet of a copied stream of the source."""
        packet.stream = self._streams[packet.stream.index]
        self.container.mux(packet)

    def copy_video(self, packet: av.Packet[Any]) -> None:
        """Write a packet of the video."""
        if self._video is None:
            raise RuntimeError("add_copy_of_video was not called")
        packet.stream = self._video
        self.container.mux(packet)

    def _copy_streams(self) -> None:
        container = self._source.container
        for stream in container.streams:
            if stream is self._source.video or _holds_chapters(container, stream):
                continue
            is_cover = bool(stream.disposition & Disposition.attached_pic)
            try:
                if isinstance(stream, AttachmentStream):
                    name = stream.metadata.get("filename", f"attachment-{stream.index}")
                    self.container.add_attachment(name, stream.mimetype or "", stream.data)
                    continue
                if stream.type not in COPIED and not is_cover:
                    self._leave_out(stream)
                    continue
                target = self.container.add_stream_from_template(stream, opaque=True)
            except ValueError:
                self._leave_out(stream)
                continue
            _copy_description(stream, target)
            self._streams[stream.index] = target
            self.copied.append(stream)

    def _leave_out(self, stream: Stream) -> None:
        context = stream.codec_context
        name = context.name if context else (stream.name or "unknown")
        self.left_out.append(f"stream {stream.index} ({stream.type}, {name})")


def _holds_chapters(container: InputContainer, stream: Stream) -> bool:
    """Whether a stream is the text of the chapters in MP4 and MOV, which their muxers write."""
    is_text = stream.type == "data" and stream.name == "bin_data"
    return is_text and "mov" in container.format.name and bool(container.chapters())


def _copy_description(source: Stream, target: Stream) -> None:
    target.metadata.update(source.metadata)
    target.disposition = source.disposition


def _muxer_options(source: Source, path: Path) -> dict[str, str]:
    if path.suffix.lower() not in {".mp4", ".m4v", ".mov"}:
        return {}
    flags = "faststart"  # players begin before they have read the whole file
    if any(key.startswith(QUICKTIME_KEYS) for key in source.container.metadata):
        flags += "+use_metadata_tags"
    return {"movflags": flags}
