"""Interrupted runs of the command `video` that are resumed: ffprobe compares the results."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.settings import Settings
from app.video.enhance import enhance_video
from app.video.options import VideoOptions
from app.video.parts import PART_FRAMES
from tests.helpers.cli import PATIENCE, invoke
from tests.helpers.videos import (
    CUTS,
    FAST,
    FRAMES,
    TO_BT709,
    decode,
    enhance,
    frame_times,
    packet_hashes,
    probe,
    reject,
    run_ffmpeg,
    streams,
    video_stream,
    write_clip,
)
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.slow  # runs ffmpeg and whole programs

REPEATS = 2
LONG_CUTS = [FRAMES * repeat + cut for repeat in range(REPEATS) for cut in CUTS]
UNEVEN = "setpts='(N+0.4*sin(N))/25/TB+gte(N,20)*0.7/TB'"
GOOD = ("--quality", 5)
QUICK = ("--preset", "ultrafast")


@pytest.fixture(scope="module")
def uneven(rich: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repeat the shots at a variable frame rate, with pixels that are not square, and the rest."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.mp4"
    loop = f"loop={REPEATS - 1}:{FRAMES},{UNEVEN},setsar=4/3,{TO_BT709[1]}"
    tags = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
    options = ("-map", 0, "-vf", loop, "-vsync", "vfr", "-enc_time_base", "1/1000", *FAST)
    copies = ("-c:a", "copy", "-c:s", "copy", "-metadata:s:v", "rotate=90")
    keys = ("-movflags", "use_metadata_tags")
    run_ffmpeg("-noautorotate", "-i", rich, *options, *tags.split(), *copies, *keys, path)
    return path


def parts(output: Path) -> list[Path]:
    """Return the finished parts of an interrupted run."""
    return sorted(Path(f"{output}.parts").glob("part-*.mkv"))


def describe(path: Path) -> dict[str, Any]:
    """Return what ffprobe states of a file, but for its name, sizes and guessed rates."""
    found = probe(path, "-show_format", "-show_streams", "-show_chapters")
    for it in (found["format"], *found["streams"]):
        for key in ("filename", "size", "bit_rate", "extradata_size", "field_order"):
            it.pop(key, None)
        for key in ("r_frame_rate", "avg_frame_rate"):
            it.pop(key, None)
    return found


def interrupt_after(frames: int) -> Any:
    """Return a progress callback that sends SIGINT once this many frames were encoded."""

    def report(stage: str, done: int, _: int) -> None:
        if stage == "enhance" and done == frames:
            signal.raise_signal(signal.SIGINT)

    return report


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_is_resumed(uneven: Path, tmp_path: Path) -> None:
    """A process that Ctrl-C ends and a second run make what one run makes."""
    output, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    arguments = [*map(str, ("video", uneven, "-o", output, "--resume", "--preset", "medium"))]
    with subprocess.Popen(
        [sys.executable, "-m", "app", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: parts(output) != [] or process.poll() is not None, PATIENCE)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"the same command resumes from {output}.parts" in errors
    assert not output.exists()
    finished = {it: it.stat().st_mtime_ns for it in parts(output)}
    assert 0 < len(finished) < len(LONG_CUTS)

    options, settings = VideoOptions(resume=True, preset="medium"), Settings.from_environment()
    with pytest.raises(KeyboardInterrupt):
        enhance_video(uneven, output, options, settings, interrupt_after(LONG_CUTS[-1]))
    assert {it: it.stat().st_mtime_ns for it in finished} == finished
    assert len(parts(output)) > len(finished)
    enhance(uneven, output, "--resume", "--preset", "medium")
    assert sorted(it.name for it in tmp_path.iterdir()) == ["out.mp4"]

    enhance(uneven, whole, "--resume", "--preset", "medium")
    assert describe(output) == describe(whole)
    for kind in ("a:0", "s:0"):
        assert packet_hashes(output, kind) == packet_hashes(whole, kind)
    assert frame_times(output) == frame_times(whole)
    difference = np.abs(decode(output).astype(int) - decode(whole)).mean(axis=(1, 2, 3))
    assert difference.max() < 2


CODECS = [
    ("h264", "mp4", "yuv420p", (*QUICK, *GOOD)),
    ("h264", "mkv", "yuv420p", ("--preset", "medium", *GOOD)),
    ("hevc", "mp4", "yuv420p", (*QUICK, *GOOD)),
    ("av1", "webm", "yuv420p", ("--preset", 10, *GOOD)),
    ("prores", "mov", "yuv422p10le", ()),
    ("ffv1", "mkv", "yuv420p", ()),
]


@pytest.mark.parametrize(("codec", "suffix", "pixels", "arguments"), CODECS)
def test_parts_make_the_video_that_one_go_makes(
    codec: str,
    suffix: str,
    pixels: str,
    arguments: tuple[object, ...],
    uneven: Path,
    tmp_path: Path,
) -> None:
    """Streams, times, audio, subtitles, chapters and colours are equal, pictures almost."""
    output, whole = (tmp_path / f"{name}.{suffix}" for name in ("out", "whole"))
    for path, flag in ((output, "--resume"), (whole, "--no-resume")):
        enhance(uneven, path, flag, "--codec", codec, *arguments)
    assert describe(output) == describe(whole)
    assert video_stream(output)["pix_fmt"] == pixels
    assert len(frame_times(output)) == len(frame_times(uneven)) == REPEATS * FRAMES
    assert frame_times(output) == frame_times(whole)
    for stream in streams(whole):
        if stream["codec_type"] != "video":
            index = str(stream["index"])
            assert packet_hashes(output, index) == packet_hashes(whole, index)
    assert set(LONG_CUTS) <= set(key_frames(output))
    difference = np.abs(decode(output).astype(int) - decode(whole)).mean(axis=(1, 2, 3))
    assert difference.max() < 2
    assert decode_times(output) == sorted(set(decode_times(output)))


def key_frames(path: Path) -> list[int]:
    """Return the numbers of the key frames of a video."""
    entries = ("-select_streams", "v:0", "-show_entries", "frame=key_frame")
    frames = probe(path, *entries)["frames"]
    return [index for index, it in enumerate(frames) if it["key_frame"]]


def decode_times(path: Path) -> list[float]:
    """Return the times at which the packets of the video are decoded."""
    entries = ("-select_streams", "v:0", "-show_entries", "packet=dts_time")
    packets = probe(path, *entries)["packets"]
    return [float(it["dts_time"]) for it in packets if "dts_time" in it]


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_long_scenes_are_divided(codec: str, shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """Also where the last part has one frame; one look needs no first pass."""
    source, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    still = np.repeat(shots[:1], PART_FRAMES + 1, axis=0)
    write_clip(source, still, *FAST)
    assert invoke("video", source, "--cube", tmp_path).returncode == 0
    _, _, token = (tmp_path / "scene-001.cube").read_text().partition("look")
    look = token.split()[0].strip(": ")
    enhance(source, output, "--resume", "--look", look, "--codec", codec)
    assert frame_times(output) == pytest.approx([it / 25 for it in range(PART_FRAMES + 1)])
    assert {0, PART_FRAMES} <= set(key_frames(output))


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("flag", ["--resume", "--no-resume"])
def test_short_videos(flag: str, frames: int, shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """The encoder of HEVC delays packets by more frames than there are."""
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(source, shots[:frames], *FAST)
    enhance(source, output, flag, "--codec", "hevc")
    assert frame_times(output) == pytest.approx([it / 25 for it in range(frames)])


@pytest.fixture
def interrupted(interruptible: None, rich: Path, tmp_path: Path) -> Path:
    """Interrupt a run in its second scene; return its output."""
    output, options = tmp_path / "out.mkv", VideoOptions(resume=True, preset="ultrafast")
    with pytest.raises(KeyboardInterrupt):
        enhance_video(rich, output, options, Settings.from_environment(), interrupt_after(40))
    assert len(parts(output)) == 1
    return output


def test_other_runs_do_not_take_the_parts(
    interrupted: Path, rich: Path, uneven: Path, tmp_path: Path
) -> None:
    """Runs of other options, models and videos are rejected before they begin."""
    for source, arguments, what in (
        (rich, ("--strength", 0.5), "options"),
        (rich, ("--preset", "fast"), "options"),
        (rich, (*QUICK, "--model", "vivid"), "model"),
        (uneven, QUICK, "source"),
    ):
        message = reject(source, interrupted, "--resume", *arguments)
        assert f"out.mkv.parts: it has parts of another run ({what} differ)" in message
    assert len(parts(interrupted)) == 1
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(rich.read_bytes())
    enhance(moved, interrupted, "--resume", *QUICK)  # the name of the input is free
    assert len(frame_times(interrupted)) == FRAMES


def test_two_runs_at_once(interrupted: Path, rich: Path) -> None:
    """The second is rejected."""
    with Path(f"{interrupted}.parts/run.json").open() as manifest:
        fcntl.flock(manifest, fcntl.LOCK_EX)
        message = reject(rich, interrupted, "--resume", *QUICK)
    assert "another process works on it" in message
    enhance(rich, interrupted, "--resume", *QUICK)


@pytest.mark.parametrize("place", [0.5, 0.0])
def test_damaged_parts(place: float, interrupted: Path, rich: Path) -> None:
    """A part that another program damaged is named, and the output is not written."""
    (part,) = parts(interrupted)
    content = part.read_bytes()
    part.write_bytes(content[: int(place * len(content))])
    found = invoke("video", rich, "-o", interrupted, "--resume", *QUICK)
    assert found.returncode == 1
    assert f"{part}: it is damaged; remove it and run the command again" in found.stderr
    assert not interrupted.exists()
    part.unlink()
    enhance(rich, interrupted, "--resume", *QUICK)
    assert len(frame_times(interrupted)) == FRAMES


def test_where_it_cannot_work(rich: Path, tmp_path: Path) -> None:
    """The message comes before the first pass, and folders of others stay."""
    message = reject(rich, tmp_path / "out.avi", "--resume")
    assert "out.avi: --resume writes .m4v, .mkv, .mov, .mp4, .webm" in message
    assert invoke("video", rich, "--cube", tmp_path, "--resume").returncode == 2
    other = tmp_path / "out.mp4.parts"
    other.mkdir()
    (other / "letters.txt").write_text("mine")
    assert "the folder is none of this command" in reject(rich, tmp_path / "out.mp4", "--resume")
    assert [it.name for it in other.iterdir()] == ["letters.txt"]
