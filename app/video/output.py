"""Writing a video: the encoded frames, and everything of the original that is not the picture."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from app.errors import BadVideo
from app.video.encoding import Encoding
from app.video.source import Source

COPIED = {"attachment", "audio", "subtitle"}  # types of streams that are copied
SHORT = 2  # frames of a video to whose packets libx265 gives no time of decoding
REJECTIONS = (ValueError, NotImplementedError, PermissionError)  # of muxers
QUICKTIME_KEYS = "com."  # metadata that MP4 and MOV hold under any name


class Output:
    """A video file that appears under its name when it is finished.

    A context manager: a file that is not finished when it is left is deleted.

    Attributes:
        notes: the parts of the source that are lost, in sentences.
    """

    def __init__(self, path: Path, source: Source, folder: Path | None = None) -> None:
        """Open a temporary file.

        Args:
            path: of the output; its suffix sets the container.
            source: the video whose streams are copied.
            folder: on the same disk, for the temporary file; None is that of the output.

        Raises:
            BadVideo: the suffix is that of no container.
            OSError: the file cannot be written.
        """
        self._path = path
        self._source = source
        self._streams: dict[int, Stream] = {}
        self._frames = self._packets = 0
        self._durations: dict[int | None, int] = {}
        self.notes: list[str] = []
        self._resources = ExitStack()
        path.parent.stat()  # whose error names the folder
        made = tempfile.TemporaryDirectory(dir=folder or path.parent, prefix=f".{path.name}.")
        self._part = Path(self._resources.enter_context(made)) / path.name
        try:
            self._open()
        except ValueError as error:
            self._resources.close()
            raise BadVideo(f"{path}: no container has this suffix") from error

    def _open(self) -> None:
        options = _muxer_options(self._source, self._path)
        self.container = av.open(self._part, "w", options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._resources:
            self._abandon()

    def _abandon(self) -> None:
        with suppress(av.error.FFmpegError, ValueError):
            self.container.close()  # the muxer may not be able to end an incomplete file

    def finish(self) -> None:
        """Complete the file and give it its name."""
        self.container.close()
        self._part.replace(self._path)

    @property
    def copied(self) -> list[Stream]:
        """The streams of the source whose packets are to be written."""
        return [it for it in self._source.container.streams if it.index in self._streams]

    def add_video(self, encoding: Encoding) -> None:
        """Add the video stream, and copies of the other streams, the metadata and the chapters.

        Raises:
            BadVideo: the container does not hold the codec, or the encoder rejects the frames.
        """
        try:
            self._begin(encoding, lambda it: encoding.add_to(it, self._source.time_base))
        except BadVideo as error:
            raise BadVideo(f"{self._path}: {error}") from error

    def add_copy_of_video(self, encoding: Encoding, template: VideoStream) -> None:
        """Do as `add_video`, for packets that are encoded already, as those of another stream."""

        def add(container: OutputContainer) -> VideoStream:
            video = container.add_stream_from_template(template, opaque=True)
            video.time_base = self._source.time_base
            encoding.describe(video)
            return video

        self._begin(encoding, add)

    def _begin(self, encoding: Encoding, add: Callable[[OutputContainer], VideoStream]) -> None:
        """Write the header of the file, with the streams that the container holds.

        A muxer rejects streams when it writes the header. Where it rejects all streams together,
        they are tried one after the other.
        """
        others = [it for it in self._source.container.streams if it is not self._source.video]
        others = [it for it in others if not _holds_chapters(self._source.container, it)]
        held = [it for it in others if _is_copied(it)]
        if not self._write_header(encoding, add, held):
            tried, held = held, []
            if not self._write_header(encoding, add, held):
                raise BadVideo(
                    f"the container does not hold {encoding.codec.encoder}; "
                    "choose another with --codec"
                )
            for stream in tried:
                if self._write_header(encoding, add, [*held, stream]):
                    held.append(stream)
            self._write_header(encoding, add, held)
        lost = [_describe(it) for it in others if it not in held]
        self.notes = encoding.notes
        if lost:
            self.notes.append(f"the container does not hold {', '.join(lost)}")

    def _write_header(
        self,
        encoding: Encoding,
        add: Callable[[OutputContainer], VideoStream],
        streams: list[Stream],
    ) -> bool:
        """Begin the file anew; return whether the container holds the streams."""
        self._abandon()
        self._open()
        source, container = self._source, self.container
        try:
            self._video = video = add(container)
            if "DISPLAYMATRIX" in encoding.first.side_data:
                matrix = np.frombuffer(bytes(encoding.first.side_data["DISPLAYMATRIX"]), np.int32)  # type: ignore[typeddict-item]
                video.set_display_matrix(matrix.tolist())
            _copy_description(source.video, video)
            video.metadata.pop("encoder", None)  # names the encoder of the source
            self._streams = {it.index: _add_copy(container, it) for it in streams}
            container.metadata.update(source.container.metadata)
            container.set_chapters(source.container.chapters())
            container.start_encoding()
        except REJECTIONS:
            return False
        return True

    def encode(self, frame: VideoFrame | None, *, begins_scene: bool = False) -> None:
        """Encode a frame and write what the encoder has ready; None ends the video.

        Raises:
            BadVideo: the encoder rejects the frame, or did not return all frames in the end.
        """
        if frame is not None:
            frame.pict_type = PictureType.I if begins_scene else PictureType.NONE
            self._frames += 1
            self._durations[frame.pts] = frame.duration
        try:
            for packet in self._video.encode(frame):
                self._packets += 1
                packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
                if self._frames <= SHORT:
                    packet.dts = packet.pts
                self.container.mux(packet)
        except av.error.FFmpegError as error:
            raise BadVideo(f"{self._path}: the encoder failed: {error.strerror}") from error
        if frame is None:
            check_frames(self._path, self._frames, self._packets)

    def copy(self, packet: av.Packet[Stream]) -> None:
        """Write a packet of a copied stream of the source."""
        packet.stream = self._streams[packet.stream.index]
        self.container.mux(packet)

    def copy_video(self, packet: av.Packet[Any]) -> None:
        """Write a packet of the video."""
        packet.stream = self._video
        self.container.mux(packet)


def check_frames(path: Path, frames: int, packets: int) -> None:
    """Raise BadVideo if an encoder returned fewer packets than it received frames."""
    if packets < frames:
        raise BadVideo(f"{path}: the encoder lost {frames - packets} of {frames} frames")


def _is_copied(stream: Stream) -> bool:
    """Whether a stream is one that containers hold without changes, such as audio."""
    is_cover = bool(stream.disposition & Disposition.attached_pic)
    return stream.type in COPIED or is_cover


def _add_copy(container: OutputContainer, stream: Stream) -> Stream:
    if isinstance(stream, AttachmentStream):
        name = stream.metadata.get("filename", f"attachment-{stream.index}")
        return container.add_attachment(name, stream.mimetype or "", stream.data)
    target = container.add_stream_from_template(stream, opaque=True)
    _copy_description(stream, target)
    return target


def _describe(stream: Stream) -> str:
    context = stream.codec_context
    name = context.name if context else (stream.name or "unknown")
    return f"stream {stream.index} ({stream.type}, {name})"


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
