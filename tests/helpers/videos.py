"""Clips for tests of videos, made of the photographs, and readers that are not our own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.cli import invoke
from tests.helpers.paths import PHOTOS

WIDTH, HEIGHT = 320, 180
RATE = 25
SHOTS = (("lake.jpg", 30), ("otters.jpg", 20), ("sunset.jpg", 25))
CUTS = (0, 30, 50)
FRAMES = 75
FAST = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-crf", "12")
TO_BT709 = ("-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int")


def make_shot(photo: str, frames: int, step: float = 2.0) -> NDArray[np.uint8]:
    """Pan over a photograph: (frames, HEIGHT, WIDTH, 3)."""
    with Image.open(PHOTOS / photo) as opened:
        scale = 1.3 * max(WIDTH / opened.width, HEIGHT / opened.height)
        size = round(opened.width * scale), round(opened.height * scale)
        pixels = np.asarray(opened.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    room = pixels.shape[1] - WIDTH
    lefts = [min(room, round(step * index)) for index in range(frames)]
    return np.stack([pixels[:HEIGHT, left : left + WIDTH] for left in lefts])


def write_clip(path: Path, frames: NDArray[np.uint8], *arguments: str) -> Path:
    """Encode frames (F, H, W, 3) with ffmpeg; `arguments` come before the name of the file."""
    height, width = frames.shape[1:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE)]
    command = ["ffmpeg", "-v", "error", "-y", *raw, "-i", "-", *arguments, str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


def run_ffmpeg(*arguments: object) -> None:
    """Run ffmpeg, which writes errors alone."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def enhance(source: Path, output: Path, *arguments: object) -> str:
    """Run the command; return what it prints."""
    found = invoke("video", source, "-o", output, *arguments)
    assert found.returncode == 0, found.stderr
    return found.stderr


def reject(source: Path, output: Path, *arguments: object) -> str:
    """Run a command that fails; return its message. It leaves no file."""
    before = sorted(output.parent.iterdir())
    found = invoke("video", source, "-o", output, *arguments)
    assert found.returncode == 1
    assert sorted(output.parent.iterdir()) == before
    assert found.stderr.count("\n") == 1
    return found.stderr


def probe(path: Path, *arguments: str) -> dict[str, Any]:
    """Return what ffprobe reads of a file, as JSON."""
    command = ["ffprobe", "-v", "error", "-of", "json", *arguments, str(path)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


def streams(path: Path) -> list[dict[str, Any]]:
    """Return the streams of a file, with the number of packets that each holds."""
    found: list[dict[str, Any]] = probe(path, "-show_streams", "-count_packets")["streams"]
    return found


def video_stream(path: Path) -> dict[str, Any]:
    """Return ffprobe's description of the video stream."""
    return next(it for it in streams(path) if it["codec_type"] == "video")


def decode(path: Path, *filters: str) -> NDArray[Any]:
    """Decode the video of a file with ffmpeg, as players turn it, through filters.

    Returns:
        (F, H, W, 3), uint8.
    """
    video = next(it for it in streams(path) if it["codec_type"] == "video")
    height, width = video["height"], video["width"]
    if any(it.get("rotation", 0) % 180 for it in video.get("side_data_list", [])):
        height, width = width, height
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode"]
    command += ["passthrough", "-vf", ",".join((*filters, "format=rgb24"))]
    raw = subprocess.check_output([*command, "-f", "rawvideo", "-"])
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def packet_hashes(path: Path, stream: str) -> list[tuple[str, str]]:
    """Return (time in seconds, hash) of each packet of a stream such as "a:0"."""
    arguments = ("-select_streams", stream, "-show_packets", "-show_data_hash", "CRC32")
    packets = probe(path, *arguments)["packets"]
    return [(it["pts_time"], it["data_hash"]) for it in packets]


def frame_times(path: Path) -> list[float]:
    """Return the times of the frames of the video, in seconds."""
    frames = probe(path, "-select_streams", "v:0", "-show_entries", "frame=pts_time")["frames"]
    return [float(it["pts_time"]) for it in frames]
