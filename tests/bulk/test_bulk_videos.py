"""Animations and videos among the photos of a bulk run, by both engines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import s3fs

from tests.helpers.animations import FORMATS, animation, read_animation
from tests.helpers.cli import PATIENCE, invoke, run
from tests.helpers.paths import PHOTOS, ROOT
from tests.helpers.ray_cluster import ALONE
from tests.helpers.videos import decode, frame_times, make_shot, streams, write_clip

pytestmark = pytest.mark.slow  # runs ffmpeg and whole programs

FRAMES = 10
CLIPS = {  # of codecs that are written, and of one that is not
    "clip.mp4": ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    "deep/clip.webm": ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-pix_fmt", "yuv420p"),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a photo, animations, two videos, one that is damaged, and a file that is no image."""
    folder = tmp_path_factory.mktemp("mixed") / "source"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(PHOTOS / "lake.jpg", folder)
    for name in FORMATS:
        (folder / f"moving.{name}").write_bytes(animation(name))
    shot = make_shot("otters.jpg", FRAMES)
    for name, arguments in CLIPS.items():
        write_clip(folder / name, shot, *arguments)
    (folder / "notes.txt").write_text("not a photo")
    (folder / "damaged.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:300])
    return folder


def results(target: Path) -> dict[str, dict[str, str]]:
    """Read the lines of the manifest by source."""
    _, *lines = map(json.loads, (target / "manifest.jsonl").read_text().splitlines())
    return {line["source"]: line for line in lines}


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_moving_pictures_among_photos(engine: str, mixed: Path, tmp_path: Path) -> None:
    """Each is enhanced in its kind: frames and their times stay, colours change."""
    target = tmp_path / "target"
    command = ("bulk", mixed, target, "--engine", engine, "--model", "vivid")
    ended = run(*command, **ALONE)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == "8 files: 6 done, 1 failed, 1 skipped\n", ended.stderr
    assert "damaged.mp4: failed: it is no video, or damaged" in ended.stderr
    for name in FORMATS:
        before, after = (
            read_animation((it / f"moving.{name}").read_bytes()) for it in (mixed, target)
        )
        assert after.milliseconds == before.milliseconds
        assert after.plays == before.plays
        assert np.abs(after.frames.astype(int) - before.frames).mean() > 1
    for name in CLIPS:
        before, after = mixed / name, target / name
        assert frame_times(after) == pytest.approx(frame_times(before), abs=1e-3)
        assert np.abs(decode(after).astype(int) - decode(before)).mean() > 1
    assert [it["codec_name"] for it in streams(target / "deep/clip.webm")] == ["av1"]
    again = run(*command, "--engine", "local")
    assert (again.stdout, again.stderr) == (ended.stdout, "")


def test_videos_of_a_bucket(mixed: Path, bucket: dict[str, str], tmp_path: Path) -> None:
    """They are copied to this machine and back."""
    store = s3fs.S3FileSystem(
        key=bucket["AWS_ACCESS_KEY_ID"],
        secret=bucket["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=bucket["AWS_ENDPOINT_URL"],
    )
    store.mkdir("videos")
    store.put(str(mixed / "clip.mp4"), "videos/in/clip.mp4")
    target = tmp_path / "result.mp4"
    ended = run("bulk", "s3://videos/in", "s3://videos/out", "--engine", "local", **bucket)
    assert ended.stdout == "1 files: 1 done, 0 failed, 0 skipped\n", ended.stderr
    store.get("videos/out/clip.mp4", str(target))
    assert len(frame_times(target)) == FRAMES


def test_streams_that_are_lost_are_named(mixed: Path, tmp_path: Path) -> None:
    """A data stream is not copied; the line of the result names it."""
    source = tmp_path / "timecode"
    source.mkdir()
    command = ["ffmpeg", "-v", "error", "-i", str(mixed / "clip.mp4"), "-c", "copy"]
    command += ["-timecode", "01:00:00:00", str(source / "clip.mov")]
    subprocess.run(command, check=True)
    command = ("bulk", source, tmp_path / "target", "--engine", "local", "--processes", 1)
    ended = invoke(*command)
    assert ended.returncode == 0
    line = results(tmp_path / "target")["clip.mov"]
    assert line["status"] == "done"
    assert line["reason"].startswith("the container does not hold stream 1 (data")
    assert ended.stderr == f"clip.mov: done: {line['reason']}\n"


def test_without_the_extra(mixed: Path, tmp_path: Path) -> None:
    """Videos fail with a line that names it; everything else is enhanced."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("lake.jpg", "moving.gif", "clip.mp4"):
        shutil.copy(mixed / name, source)
    (tmp_path / "av.py").write_text("raise ModuleNotFoundError('missing', name='av')")
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    command = ("bulk", source, tmp_path / "target", "--engine", "local", "--processes", 1)
    ended = subprocess.run(  # not a fork of a process that has imported PyAV
        [sys.executable, "-m", "app", *map(str, command)],
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == "3 files: 2 done, 1 failed, 0 skipped\n"
    assert "clip.mp4: failed: needs clut-enhance[video]" in ended.stderr
    retried = invoke(*command, "--retry")
    assert retried.stdout == "3 files: 3 done, 0 failed, 0 skipped\n"
