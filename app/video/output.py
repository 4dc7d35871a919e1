"""Writing a video: the encoded frames, and everything of the original that is not the picture."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from app.errors import BadVideo
from app.video.frames import FrameFormat
from app.video.options import VideoCodec
from app.video.source import Source

COPIED = {"audio", "subtitle"}  # types of streams whose packets are copied
QUICKTIME_KEYS = "com."  # metadata that MP4 and MOV hold under any name


class Output:
    """A video file that appears under its name when it is complete.

    A context manager: leaving it completes the file, or deletes it after an error.

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
        self.copied: list[Stream] = []
        self.left_out: list[str] = []
        self._resources = ExitStack()
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
        with self._resources:
            if error is not None:
                self._abandon()
                return
            self.container.close()
            self._part.replace(self._path)

    def add_video(
        self, codec: VideoCodec, options: dict[str, str], layout: FrameFormat, frame: VideoFrame
    ) -> None:
        """Add the video stream, and copies of the other streams, the metadata and the chapters.

        Args:
            codec: the encoder.
            options: of the encoder.
            layout: the format of the frames.
            frame: the first frame of the source, which holds rotation and colours.

        Raises:
            BadVideo: the container does not hold the codec.
        """
        source = self._source
        try:
            stream = self.container.add_stream(codec.encoder, source.rate, options=options)
        except ValueError as error:
            raise BadVideo(f"{self._path}: {error}; choose another with --codec") from error
        self._video = video = cast("VideoStream", stream)
        video.width, video.height, video.pix_fmt = layout.width, layout.height, layout.name
        video.time_base = video.codec_context.time_base = source.time_base
        context, original = video.codec_context, source.video.codec_context
        if original.sample_aspect_ratio:
            context.sample_aspect_ratio = original.sample_aspect_ratio
        context.color_range = 2 if layout.encoding.full_range else 1
        context.color_trc, context.color_primaries = frame.color_trc, frame.color_primaries
        context.colorspace = frame.colorspace
        context.thread_type = "AUTO"
        if "DISPLAYMATRIX" in frame.side_data:
            matrix = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), np.int32)  # type: ignore[typeddict-item]
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
        try:
            self.container.mux(self._video.encode(frame))
        except av.error.FFmpegError as error:
            raise BadVideo(f"{self._path}: the encoder failed: {error.strerror}") from error

    def copy(self, packet: av.Packet[Stream]) -> None:
        """Write a packet of a copied stream."""
        packet.stream = self._streams[packet.stream.index]
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

    def _abandon(self) -> None:
        """Close the file; the muxer may not be able to end what is incomplete."""
        try:
            self.container.close()
        except (av.error.FFmpegError, ValueError):
            return


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
