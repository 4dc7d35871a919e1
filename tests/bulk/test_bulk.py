"""Bulk work, by its command: folders and buckets, both engines, interruptions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.helpers.cli import invoke, run
from tests.helpers.paths import PHOTOS
from tests.helpers.ray_cluster import LOCAL
from tests.helpers.tolerances import assert_same_pixels

NAME = "manifest.jsonl"
PHOTOS_IN_ALL = 40  # that a run is killed in the middle of


def bulk(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it on this machine: here, with one process that does the work."""
    return invoke("bulk", *arguments, "--engine", "local", "--processes", 1)


def outcomes(target: Path) -> dict[str, dict[str, str]]:
    """The manifest's lines by source, each of which has to be there once."""
    _, *lines = (target / NAME).read_text().splitlines()
    read = [json.loads(line) for line in lines]
    assert len({line["source"] for line in read}) == len(read)
    return {line["source"]: line for line in read}


def answers(target: Path) -> set[str]:
    """The files that were made."""
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    return found - {NAME}


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_folder(engine: str, source: Path, tmp_path: Path) -> None:
    """Photos are enhanced, what is no image is skipped, and a damaged one is told of."""
    target = tmp_path / "target"
    result = run("bulk", source, target, "--engine", engine, "--max-side", 100, **LOCAL)
    assert result.returncode == 1, result.stderr
    assert "5 files: 3 done, 1 failed, 1 skipped" in result.stdout
    assert "damaged.jpg: failed: The image is damaged: " in result.stderr
    assert answers(target) == {"lake.jpg", "deep/otters.jpg", "deep/sunset.jpg"}
    with Image.open(target / "deep/otters.jpg") as answer:
        assert max(answer.size) == 100
    told = outcomes(target)
    assert told["lake.jpg"] == {"source": "lake.jpg", "status": "done", "target": "lake.jpg"}
    assert told["notes.txt"]["status"] == "skipped"
    assert told["damaged.jpg"]["reason"].startswith("The image is damaged: ")


def test_the_engines_answer_alike_and_as_one_photo(source: Path, tmp_path: Path) -> None:
    """Bulk makes the pixels that `enhance` makes, within a level."""
    bulk(source, tmp_path / "target", "--format", "png")
    invoke("enhance", source / "lake.jpg", "-o", tmp_path / "one.png")
    made = (tmp_path / "target/lake.jpg.png").read_bytes()
    assert_same_pixels(made, (tmp_path / "one.png").read_bytes())


def test_another_format_tells_by_its_suffix(source: Path, tmp_path: Path) -> None:
    """A suffix that would lie gets another behind it, so no two answers meet."""
    Image.open(source / "lake.jpg").save(source / "lake.png")
    bulk(source, tmp_path / "target", "--format", "webp")
    assert {"lake.jpg.webp", "lake.png.webp"} <= answers(tmp_path / "target")


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """Killed in the middle with SIGKILL, then run again: each answer is made exactly once."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number in range(PHOTOS_IN_ALL):
        shutil.copy(PHOTOS / "lake.jpg", source / f"{number:03}.jpg")
    command = [sys.executable, "-m", "app", "bulk", source, target, "--engine", "local"]
    first = psutil.Popen(command)
    give_up = time.monotonic() + 120
    while len(list(target.glob("*.jpg"))) < PHOTOS_IN_ALL // 4:
        assert time.monotonic() < give_up
        time.sleep(0.005)
    workers = first.children(recursive=True)
    first.kill()
    first.wait()
    psutil.wait_procs(workers, timeout=60)  # they notice that they are alone
    made = {path.name: path.stat().st_mtime_ns for path in target.glob("*.jpg")}
    assert PHOTOS_IN_ALL // 4 <= len(made) < PHOTOS_IN_ALL
    (target / "000.jpg.partial").write_bytes(b"what a write leaves that is killed")

    result = bulk(source, target)
    assert (result.returncode, result.stderr) == (0, "")
    assert answers(target) == {f"{number:03}.jpg" for number in range(PHOTOS_IN_ALL)}
    assert {name: (target / name).stat().st_mtime_ns for name in made} == made
    assert {line["status"] for line in outcomes(target).values()} == {"done"}
    assert len(outcomes(target)) == PHOTOS_IN_ALL


def test_what_is_done_is_not_done_again(source: Path, tmp_path: Path) -> None:
    """A second run does nothing and ends as the first did; --retry tries again what failed."""
    target = tmp_path / "target"
    first = bulk(source, target)
    times = {name: (target / name).stat().st_mtime_ns for name in answers(target)}
    second = bulk(source, target)
    assert (second.returncode, second.stdout, second.stderr) == (1, first.stdout, "")
    shutil.copy(PHOTOS / "lake.jpg", source / "damaged.jpg")
    third = bulk(source, target, "--retry")
    assert (third.returncode, third.stderr) == (0, "")
    assert answers(target) == {*times, "damaged.jpg"}
    assert {name: (target / name).stat().st_mtime_ns for name in times} == times


def test_a_bucket(source: Path, bucket: dict[str, str]) -> None:
    """From one bucket's folder to another; a second run finds all done."""
    upload = (
        "import sys, s3fs; store = s3fs.S3FileSystem(); store.mkdir('photos'); "
        "store.put(sys.argv[1] + '/', 'photos/in[1]/', recursive=True)"
    )
    subprocess.run(
        [sys.executable, "-c", upload, str(source)], env=os.environ | bucket, check=True, timeout=60
    )
    arguments = ("s3://photos/in[1]", "s3://photos/out", "--engine", "local", "--processes", 1)
    first, second = (run("bulk", *arguments, **bucket) for _ in range(2))
    assert "5 files: 3 done, 1 failed, 1 skipped" in first.stdout, first.stderr
    assert (second.stdout, second.stderr) == (first.stdout, "")
    listing = "import s3fs; print(*s3fs.S3FileSystem().find('photos/out'))"
    found = subprocess.run(
        [sys.executable, "-c", listing],
        env=os.environ | bucket,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.split()
    names = ["deep/otters.jpg", "deep/sunset.jpg", "lake.jpg", NAME]
    assert found == [f"photos/out/{name}" for name in names]


def test_folders_that_do_not_go_together(source: Path, tmp_path: Path) -> None:
    """What would mix answers with other files is refused in a line, and nothing is touched."""
    inside = bulk(source, source)
    assert (inside.returncode, len(inside.stderr.splitlines())) == (1, 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file.jpg").write_bytes(b"somebody's")
    assert f"no {NAME}" in bulk(source, tmp_path / "other").stderr
    assert answers(tmp_path / "other") == {"file.jpg"}
    assert "there are no files" in bulk(tmp_path / "nowhere", tmp_path / "target").stderr
    assert "Protocol not known: nosuch" in bulk("nosuch://a", tmp_path / "target").stderr
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    unreachable = run("bulk", "s3://photos/in", tmp_path / "target", **nobody)
    assert (unreachable.returncode, len(unreachable.stderr.splitlines())) == (1, 1)


def test_another_job_is_not_mixed_in(source: Path, tmp_path: Path) -> None:
    """The answers of other options stay as they are: the manifest says whose they are."""
    bulk(source, tmp_path / "target")
    other = bulk(source, tmp_path / "target", "--strength", 0.5)
    assert other.returncode == 1
    assert "has the answers of another job" in other.stderr


def test_answers_may_lie_below_the_photos(source: Path) -> None:
    """A target folder within the source is no source, however often it runs."""
    for _ in range(2):
        result = bulk(source, source / "better")
        assert "5 files: 3 done, 1 failed, 1 skipped" in result.stdout
