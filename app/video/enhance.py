"""A video from file to file: one pass finds scenes and looks, a second one applies them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from loky import cpu_count
from numpy.typing import NDArray

from app.errors import BadVideo
from app.luts.lut3d import Lut3D
from app.settings import Settings
from app.video.analysis import Analysis, analyse
from app.video.checkpoint import Checkpoint
from app.video.cut_list import write_cut_list
from app.video.encoding import Encoding
from app.video.frames import FrameFormat, Preview, find_format, read_format
from app.video.network import LookNetwork, open_network
from app.video.options import VideoOptions, find_codec
from app.video.output import Output
from app.video.parts import CONTAINERS, encode_parts, join_parts
from app.video.pipeline import FramePipeline
from app.video.scenes import LookTrack, Scene, find_cuts, make_scenes
from app.video.source import Source

Progress = Callable[[str, int, int], None]
"""Receives a stage, "analyse", "enhance" or "join", the frames that have passed it, and all."""


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
    target: Path | None,
    options: VideoOptions,
    settings: Settings,
    progress: Progress = ignore_progress,
    cubes: Path | None = None,
) -> list[str]:
    """Enhance a video: both passes, with a network opened for it alone.

    Args:
        source: the video.
        target: the video to write, which appears under its name when it is complete; its suffix
            sets the container. None writes no video.
        options: of the looks and the encoder.
        settings: name the store, the device and the batches.
        progress: receives each stage.
        cubes: folder for a .cube file of each scene and an edit list, or None.

    Returns:
        The parts of the source that are lost, in sentences.

    Raises:
        BadVideo: the video or an option is not supported; nothing is written.
        Problem: the model or the look cannot be used.
        OSError: a file cannot be read or written.
    """
    if target is not None:
        check_output(source, target, options)
    network, code = open_network(settings, options.model, options.look)
    with network, _checkpoint(source, target, options, network) as saved:
        looks = find_looks(source, options, network, code, progress, saved)
        if cubes is not None:
            write_cut_list(cubes, source, looks.track, network, options.strength)
        if target is None:
            return []
        return write_video(source, target, looks, options, network, progress, saved)


def _checkpoint(
    source: Path, target: Path | None, options: VideoOptions, network: LookNetwork
) -> AbstractContextManager[Checkpoint | None]:
    if target is None or not options.resume:
        return nullcontext()
    return Checkpoint(source, target, options, network)


def check_output(source_path: Path, target_path: Path, options: VideoOptions) -> None:
    """Reject, before work begins, options that `write_video` would reject after the first pass.

    Raises:
        BadVideo: the video or an option is not supported.
        OSError: a file cannot be read or written.
    """
    if target_path.exists() and target_path.samefile(source_path):
        raise BadVideo(f"{target_path}: OUT would overwrite IN")
    if options.resume and target_path.suffix.lower() not in CONTAINERS:
        raise BadVideo(f"{target_path}: --resume writes {', '.join(sorted(CONTAINERS))}")
    first = read_first_frame(source_path)
    with Source(source_path) as source:
        encoding = make_encoding(source, target_path, first, options)
        with Output(target_path, source) as output:
            output.add_video(encoding)


def read_first_frame(path: Path) -> VideoFrame:
    """Return the first frame of a video.

    Raises:
        BadVideo: the file is no video, or has no frames.
        OSError: the file cannot be read.
    """
    with Source(path) as source:
        first = next(source.frames(), None)
    if first is None:
        raise BadVideo(f"{path}: it has no frames")
    return first


def find_looks(
    path: Path,
    options: VideoOptions,
    network: LookNetwork,
    code: NDArray[np.float32] | None,
    progress: Progress,
    saved: Checkpoint | None = None,
) -> VideoLooks:
    """Run the first pass over a video.

    Args:
        path: the video.
        options: how looks are smoothed, and their strength.
        network: predicts the looks.
        code: the one look of all frames, or None.
        progress: receives the stage "analyse".
        saved: holds the result of an earlier run, or receives that of this one.

    Raises:
        BadVideo: the file is no video, damaged or HDR.
        OSError: the file cannot be read.
    """
    first = read_first_frame(path)
    layout = _read_format(path, first)

    def decode(code: NDArray[np.float32]) -> Lut3D:
        return network.decode(code).at_strength(options.strength)

    if code is not None:
        whole = Scene(0, 1, np.zeros(1, np.intp), code[np.newaxis])
        return VideoLooks(first, None, LookTrack([whole], decode))
    analysis = saved.load_analysis() if saved else None
    if analysis is None:
        with Source(path) as source:
            analysis = analyse(source, layout, network, partial(progress, "analyse"))
        if saved:
            saved.save_analysis(analysis)
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
    saved: Checkpoint | None = None,
) -> list[str]:
    """Run the second pass: apply the looks, encode, and copy everything else.

    Args:
        source_path: the video that `looks` is of.
        target_path: the video to write; its suffix sets the container.
        looks: of the video.
        options: codec, quality, strength and preview.
        network: applies LUTs.
        progress: receives the stages "enhance" and "join".
        saved: holds and receives parts of the video; None writes it in one go.

    Returns:
        The parts of the source that are lost, in sentences.

    Raises:
        BadVideo: the video or an option is not supported; nothing is written.
        OSError: a file cannot be read or written.
    """
    with Source(source_path) as source, ThreadPoolExecutor(cpu_count()) as pool:
        encoding = make_encoding(source, target_path, looks.first, options)
        unchanged = options.strength == 0
        pipeline = FramePipeline(encoding, looks.track, network, pool, unchanged=unchanged)
        total = source.expected_frames if looks.analysis is None else len(looks.analysis.times)

        def report(done: int) -> None:
            progress("enhance", done, max(done, total))

        if saved is None:
            with Output(target_path, source) as output:
                output.add_video(encoding)
                _encode(source, pipeline, looks.track, output, report)
                output.finish()
            return output.notes
        parts, times = encode_parts(source, pipeline, looks.track, encoding, saved, report)
    with Source(source_path) as source, Output(target_path, source, saved.folder) as output:
        join_parts(parts, times, encoding, source, output, partial(progress, "join"))
        output.finish()
    saved.remove()
    return output.notes


def _encode(
    source: Source,
    pipeline: FramePipeline,
    track: LookTrack,
    output: Output,
    report: Callable[[int], None],
) -> None:
    count = 0
    for item in source.read(*output.copied):
        if not isinstance(item, VideoFrame):
            output.copy(item)
            continue
        frame = pipeline.process(item, count)
        output.encode(frame, begins_scene=track.begins_scene(count))
        count += 1
        report(count)
    output.encode(None)


def make_encoding(
    source: Source, target: Path, first: VideoFrame, options: VideoOptions
) -> Encoding:
    """Choose the encoder and the format of the frames.

    Raises:
        BadVideo: the colours of the video or an option are not supported.
    """
    own = source.video.codec_context
    codec = find_codec(options.codec, own.codec.canonical_name, target.suffix)
    name = find_format(
        first.format.name, codec.pixel_formats, alpha=codec.alpha and not options.preview
    )
    layout = _read_format(source.path, first, name)
    if codec.whole_chroma:
        layout = layout.with_whole_chroma()
    return Encoding(
        codec,
        codec.options(options.quality, options.preset),
        layout,
        Preview(layout, first.rotation) if options.preview else None,
        source.rate,
        own.sample_aspect_ratio,
        first,
    )


def _read_format(path: Path, frame: VideoFrame, name: str | None = None) -> FrameFormat:
    try:
        return read_format(frame, name)
    except BadVideo as error:
        raise BadVideo(f"{path}: {error}") from error


def _look_distance(
    network: LookNetwork, first: NDArray[np.float32], second: NDArray[np.float32]
) -> float:
    """Return the mean difference of the LUTs of two codes, in 8-bit levels."""
    a, b = (network.decode(code).resample(17).table for code in (first, second))
    return float(np.abs(a - b).mean()) * 255
