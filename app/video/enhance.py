"""A video from file to file: one pass finds scenes and looks, a second one applies them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from cachetools import LRUCache
from loky import cpu_count
from numpy.typing import NDArray

from app.errors import BadVideo
from app.luts.apply import Pixels
from app.luts.lut3d import Lut3D
from app.settings import Settings
from app.video.analysis import Analysis, analyse
from app.video.frames import FrameFormat, Preview, find_format, read_format
from app.video.network import LookNetwork, open_network
from app.video.options import VideoCodec, VideoOptions, find_codec
from app.video.output import Output
from app.video.scenes import Blend, LookTrack, Scene, find_cuts, make_scenes
from app.video.source import Source
from app.video.yuv_lut import YuvLutBaker, blend_tables

STRIP_ROWS = 64  # of luma, that one thread takes at a time

Progress = Callable[[str, int, int], None]
"""Receives a stage, "analyse" or "enhance", the frames that have passed it, and all frames."""


@dataclass(frozen=True, eq=False)
class VideoLooks:
    """The looks of a video.

    Attributes:
        first: the first frame, which shows the format.
        analysis: of all frames, or None where one look was given.
        track: the LUT of each frame.
    """

    first: VideoFrame
    analysis: Analysis | None
    track: LookTrack


def ignore_progress(*_: object) -> None:
    """Report no progress."""


def enhance_video(
    source: Path,
    target: Path,
    options: VideoOptions,
    settings: Settings,
    progress: Progress = ignore_progress,
) -> list[str]:
    """Enhance a video: both passes, with a network opened for it alone.

    Args:
        source: the video.
        target: the video to write, which appears under its name when it is complete; its suffix
            sets the container.
        options: of the looks and the encoder.
        settings: name the store, the device and the batches.
        progress: receives each stage.

    Returns:
        The streams that the container does not hold, in words.

    Raises:
        BadVideo: the video or an option is not supported; nothing is written.
        Problem: the model or the look cannot be used.
        OSError: a file cannot be read or written.
    """
    network, code = open_network(settings, options.model, options.look)
    with network:
        looks = find_looks(source, options, network, code, progress)
        return write_video(source, target, looks, options, network, progress)


def find_looks(
    path: Path,
    options: VideoOptions,
    network: LookNetwork,
    code: NDArray[np.float32] | None,
    progress: Progress,
) -> VideoLooks:
    """Run the first pass over a video.

    Args:
        path: the video.
        options: how looks are smoothed, and their strength.
        network: predicts the looks.
        code: the one look of all frames, or None.
        progress: receives the stage "analyse".

    Raises:
        BadVideo: the file is no video, damaged or HDR.
        OSError: the file cannot be read.
    """
    with Source(path) as source:
        first = next(source.frames(), None)
    if first is None:
        raise BadVideo(f"{path}: it has no frames")
    layout = _read_format(path, first)

    def decode(code: NDArray[np.float32]) -> Lut3D:
        return network.decode(code).at_strength(options.strength)

    if code is not None:
        whole = Scene(0, 1, np.zeros(1, np.intp), code[np.newaxis])
        return VideoLooks(first, None, LookTrack([whole], decode))
    with Source(path) as source:
        analysis = analyse(source, layout, network, partial(progress, "analyse"))
    cuts = find_cuts(analysis, partial(_look_distance, network))
    scenes = make_scenes(analysis, cuts, options.smooth, constant=options.per_scene)
    return VideoLooks(first, analysis, LookTrack(scenes, decode, analysis.times))


def write_video(
    source_path: Path,
    target_path: Path,
    looks: VideoLooks,
    options: VideoOptions,
    network: LookNetwork,
    progress: Progress,
) -> list[str]:
    """Run the second pass: apply the looks, encode, and copy everything else.

    Args:
        source_path: the video that `looks` is of.
        target_path: the video to write; its suffix sets the container.
        looks: of the video.
        options: codec, quality, strength and preview.
        network: applies LUTs.
        progress: receives the stage "enhance".

    Returns:
        The streams that the container does not hold, in words.

    Raises:
        BadVideo: the video or an option is not supported; nothing is written.
        OSError: a file cannot be read or written.
    """
    if target_path.exists() and target_path.samefile(source_path):
        raise BadVideo(f"{target_path}: OUT would overwrite IN")
    with Source(source_path) as source, ThreadPoolExecutor(cpu_count()) as pool:
        own = source.video.codec_context.codec.canonical_name
        codec = find_codec(options.codec, own, target_path.suffix)
        settings = codec.options(options.quality, options.preset)
        layout = _encoded_format(source_path, looks.first, codec)
        preview = Preview(layout, looks.first.rotation) if options.preview else None
        processed = layout if preview is None else preview.half
        filter_ = LookFilter(processed, network.applier, pool)
        written = layout if preview is None else preview.layout
        total = source.expected_frames if looks.analysis is None else len(looks.analysis.times)
        with Output(target_path, source) as output:
            output.add_video(codec, settings, written, looks.first)
            count = 0
            for item in source.read(*output.copied):
                if not isinstance(item, VideoFrame):
                    output.copy(item)
                    continue
                frame = processed.convert(item)
                before = processed.copy(frame) if preview else None
                if options.strength:
                    filter_.apply(frame, looks.track.at(count))
                if preview and before:
                    frame = preview.join(before, frame)
                output.encode(frame, begins_scene=looks.track.begins_scene(count))
                count += 1
                progress("enhance", count, max(count, total))
            output.encode(None)
    return output.left_out


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
        strips = self._format.layout.split(self._format.planes(frame), STRIP_ROWS)
        for _ in self._pool.map(partial(self._baker.apply, table), strips):
            pass

    def _bake(self, lut: Lut3D) -> NDArray[np.uint64]:
        found = self._baked.get(lut)
        if found is None:
            found = self._baker.bake(self._prepare(lut, np.dtype(np.uint16)))
            self._baked[lut] = found
        return found


def _read_format(path: Path, frame: VideoFrame, name: str | None = None) -> FrameFormat:
    try:
        return read_format(frame, name)
    except BadVideo as error:
        raise BadVideo(f"{path}: {error}") from error


def _encoded_format(path: Path, frame: VideoFrame, codec: VideoCodec) -> FrameFormat:
    return _read_format(path, frame, find_format(frame.format.name, codec.pixel_formats))


def _look_distance(
    network: LookNetwork, first: NDArray[np.float32], second: NDArray[np.float32]
) -> float:
    """Return the mean difference of the LUTs of two codes, in 8-bit levels."""
    a, b = (network.decode(code).resample(17).table for code in (first, second))
    return float(np.abs(a - b).mean()) * 255
