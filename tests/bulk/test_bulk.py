"""The command `bulk`: folders and buckets, odd files, interruptions."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from app.bulk.storage import LocalStorage, partial_name
from tests.helpers.cli import PATIENCE, invoke, run
from tests.helpers.paths import PHOTOS
from tests.helpers.tolerances import assert_same_pixels
from tests.helpers.waiting import wait_until

NAME = "manifest.jsonl"
PHOTO_COUNT = 40  # of a run that is killed in the middle


def bulk(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `bulk` in this process, with one process that does the work."""
    return invoke("bulk", *arguments, "--engine", "local", "--processes", 1)


def results(target: Path) -> dict[str, dict[str, str]]:
    """Read the manifest: the lines by source; each source has one line."""
    _, *lines = (target / NAME).read_text().splitlines()
    read = [json.loads(line) for line in lines]
    assert len({line["source"] for line in read}) == len(read)
    return {line["source"]: line for line in read}


def outputs(target: Path) -> set[str]:
    """List the files of the target folder, without the manifest."""
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    return found - {NAME}


def test_a_folder(source: Path, tmp_path: Path) -> None:
    """Photos are enhanced, files that are no images are skipped, damaged ones are reported."""
    target = tmp_path / "target"
    result = run("bulk", source, target, "--engine", "local", "--max-side", 100)
    assert result.returncode == 1, result.stderr
    assert "5 files: 3 done, 1 failed, 1 skipped" in result.stdout
    assert "damaged.jpg: failed: The image is damaged: " in result.stderr
    assert outputs(target) == {"lake.jpg", "deep/otters.jpg", "deep/sunset.jpg"}
    with Image.open(target / "deep/otters.jpg") as enhanced:
        assert max(enhanced.size) == 100
    lines = results(target)
    assert lines["lake.jpg"] == {"source": "lake.jpg", "status": "done", "target": "lake.jpg"}
    assert lines["notes.txt"]["status"] == "skipped"
    assert lines["damaged.jpg"]["reason"].startswith("The image is damaged: ")


def test_the_pixels_are_those_of_enhance(source: Path, tmp_path: Path) -> None:
    """Bulk makes the pixels that `enhance` makes, within a level."""
    bulk(source, tmp_path / "target", "--format", "png")
    invoke("enhance", source / "lake.jpg", "-o", tmp_path / "one.png")
    made = (tmp_path / "target/lake.jpg.png").read_bytes()
    assert_same_pixels(made, (tmp_path / "one.png").read_bytes())


def test_another_format_has_its_suffix(source: Path, tmp_path: Path) -> None:
    """The suffix of another format is appended, so no two results have one name."""
    Image.open(source / "lake.jpg").save(source / "lake.png")
    bulk(source, tmp_path / "target", "--format", "webp")
    assert {"lake.jpg.webp", "lake.png.webp"} <= outputs(tmp_path / "target")


def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    """Killed in the middle with SIGKILL, then run again: each photo is enhanced exactly once."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number in range(PHOTO_COUNT):
        shutil.copy(PHOTOS / "lake.jpg", source / f"{number:03}.jpg")
    command = [sys.executable, "-m", "app", "bulk", source, target, "--engine", "local"]
    first = psutil.Popen(command)
    wait_until(lambda: len(list(target.glob("*.jpg"))) >= PHOTO_COUNT // 4, PATIENCE)
    workers = first.children(recursive=True)
    first.kill()
    first.wait()
    psutil.wait_procs(workers, timeout=60)  # they end with their parent
    made = {path.name: path.stat().st_mtime_ns for path in target.glob("*.jpg")}
    assert PHOTO_COUNT // 4 <= len(made) < PHOTO_COUNT
    (target / partial_name("000.jpg")).write_bytes(b"left by a write that was killed")

    result = bulk(source, target)
    assert (result.returncode, result.stderr) == (0, "")
    assert outputs(target) == {f"{number:03}.jpg" for number in range(PHOTO_COUNT)}
    assert {name: (target / name).stat().st_mtime_ns for name in made} == made
    assert {line["status"] for line in results(target).values()} == {"done"}
    assert len(results(target)) == PHOTO_COUNT


def test_a_killed_process_costs_nothing(tmp_path: Path) -> None:
    """One of two processes is killed with SIGKILL in the middle: the run goes on to its end."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number in range(PHOTO_COUNT):
        shutil.copy(PHOTOS / "lake.jpg", source / f"{number:03}.jpg")
    command = [sys.executable, "-m", "app", "bulk", source, target, "--processes", "2"]
    running = psutil.Popen([*command, "--engine", "local"], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: any(target.glob("*.jpg")), PATIENCE)
    (forks,) = [it for it in running.children() if "forkserver" in " ".join(it.cmdline())]
    forks.children()[0].kill()
    printed, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0
    assert printed == f"{PHOTO_COUNT} files: {PHOTO_COUNT} done, 0 failed, 0 skipped\n"
    assert outputs(target) == {f"{number:03}.jpg" for number in range(PHOTO_COUNT)}


def test_odd_files(tmp_path: Path) -> None:
    """Whatever a folder holds: images are done, each other file has one line, nothing hangs."""
    source, target = tmp_path / "source", tmp_path / "target"
    elsewhere = tmp_path / "elsewhere"
    for folder in (source, elsewhere):
        folder.mkdir()
    shutil.copy(PHOTOS / "lake.jpg", elsewhere)
    images = [
        "caf\udce9.jpg",
        "line\u2028separator.jpg",
        "new\nline.jpg",
        "next\x85.jpg",
        f"{'long' * 62}.jpg",
        "link.jpg",
    ]
    for name in images[:-1]:
        shutil.copy(PHOTOS / "lake.jpg", source / name)
    (source / images[-1]).symlink_to(elsewhere / "lake.jpg")
    os.mkfifo(source / "pipe.jpg")
    (source / "folder.jpg").symlink_to(elsewhere)
    (source / "loop").symlink_to(source)
    (source / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (source / "zero.jpg").symlink_to("/dev/zero")

    for _ in range(2):
        ended = run("bulk", source, target, "--engine", "local", "--processes", 1, "--max-side", 64)
        assert ended.returncode == 1
        assert ended.stdout == "11 files: 6 done, 1 failed, 4 skipped\n"
    assert outputs(target) == set(images)
    lines = results(target)
    assert {name for name, line in lines.items() if line["status"] == "done"} == set(images)
    assert "No such file" in lines["gone.jpg"]["reason"]
    for name in ("pipe.jpg", "zero.jpg"):
        assert lines[name]["reason"].endswith("It is not a regular file.")
    for name in ("folder.jpg", "loop"):
        assert "symbolic link to a folder" in lines[name]["reason"]


def test_a_failure_is_one_line(tmp_path: Path) -> None:
    """A name cannot break the lines on the terminal, nor write to it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("caf\udce9\n.jpg", "line\u2028separator\x1b[31m.jpg"):
        (source / name).write_bytes((PHOTOS / "lake.jpg").read_bytes()[:9000])
    ended = bulk(source, tmp_path / "target")
    first, second = ended.stderr.splitlines()
    assert first.startswith("caf\\udce9\\n.jpg: failed: ")
    assert second.startswith("line\\u2028separator\\x1b[31m.jpg: failed: ")


def test_files_of_others_stay(source: Path, tmp_path: Path) -> None:
    """Partial files are deleted in a folder of the same job only, and only those of its images."""
    other, own = tmp_path / "other", tmp_path / "own"
    (other / "deep").mkdir(parents=True)
    foreign = {partial_name("lake.jpg"), "deep/film.partial", "draft.partial"}
    for name in foreign:
        (other / name).write_bytes(b"of another owner")
    assert bulk(source, other).returncode == 1
    assert outputs(other) == foreign

    bulk(source, own)
    made = outputs(own)
    for name in (partial_name("lake.jpg"), "film.partial", "deep/draft.partial"):
        (own / name).write_bytes(b"left over, or of another owner")
    (source / "new.jpg").write_bytes((PHOTOS / "lake.jpg").read_bytes())
    rejected = bulk(source, own, "--strength", 0.5)
    assert rejected.returncode == 1
    assert {partial_name("lake.jpg"), "film.partial"} <= outputs(own)
    bulk(source, own)
    assert outputs(own) == made | {"new.jpg", "film.partial", "deep/draft.partial"}


def test_a_damaged_manifest_is_named(source: Path, tmp_path: Path) -> None:
    """A manifest that was edited by hand is an error in one line, and nothing is deleted."""
    target = tmp_path / "target"
    bulk(source, target)
    made, manifest = outputs(target), target / NAME
    text = manifest.read_text()
    lines = (
        '{"source": "x"}',
        '{"source": ["x"], "status": "done"}',
        '{"source": "x", "status": "done", "target": {}}',
        "null",
        "[" * 100_000,
    )
    for damaged in ("", text[:30], text[:-9], *(f"{text}{line}\n" for line in lines)):
        manifest.write_text(damaged)
        again = bulk(source, target)
        assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
        assert f"{NAME} is damaged" in again.stderr
        assert len(again.stderr) < 1000
        assert outputs(target) == made
    manifest.unlink()
    os.mkfifo(manifest)
    again = bulk(source, target)
    assert again.stderr == f"clut-enhance: {manifest}: not a regular file\n"


def test_two_runs_at_once(source: Path, tmp_path: Path) -> None:
    """A second run in the same folder ends in one line; after the first it goes on."""
    target = tmp_path / "target"
    with LocalStorage(str(target)).locked():
        second = bulk(source, target)
        assert second.returncode == 1
        assert second.stderr == f"clut-enhance: {target}: another bulk run is at work on it\n"
        assert outputs(target) == set()
    for _ in range(2):
        assert "5 files: 3 done" in bulk(source, target).stdout


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Allow no file of more than 1000 bytes, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk(tmp_path: Path, small_disk: None) -> None:
    """A file that cannot be written whole leaves what was there, and takes no space."""
    folder = LocalStorage(str(tmp_path))
    folder.write("a.jpg", b"before")
    with pytest.raises(OSError, match=r"a\.jpg"):
        folder.write("a.jpg", bytes(2000))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A symbolic link in place of a partial file is replaced."""
    other = tmp_path / "other"
    other.write_bytes(b"of another owner")
    target = tmp_path / "target"
    target.mkdir()
    (target / partial_name("a.jpg")).symlink_to(other)
    LocalStorage(str(target)).write("a.jpg", b"result")
    assert other.read_bytes() == b"of another owner"
    assert outputs(target) == {"a.jpg"}
    assert not (target / "a.jpg").is_symlink()


def test_a_file_that_grows(tmp_path: Path) -> None:
    """No more is read of a file than the limit allows, whatever its size was before."""
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    assert LocalStorage(str(tmp_path)).read("a.jpg", 11) == bytes(11)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        LocalStorage(str(tmp_path)).read("a.jpg", 10)


def test_what_is_done_is_not_done_again(source: Path, tmp_path: Path) -> None:
    """A second run does nothing and ends like the first; --retry tries failed files again."""
    target = tmp_path / "target"
    first = bulk(source, target)
    times = {name: (target / name).stat().st_mtime_ns for name in outputs(target)}
    second = bulk(source, target)
    assert (second.returncode, second.stdout, second.stderr) == (1, first.stdout, "")
    shutil.copy(PHOTOS / "lake.jpg", source / "damaged.jpg")
    third = bulk(source, target, "--retry")
    assert (third.returncode, third.stderr) == (0, "")
    assert outputs(target) == {*times, "damaged.jpg"}
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


def test_rejected_folders(source: Path, tmp_path: Path) -> None:
    """Folders whose files would be mixed are rejected in one line, and nothing is touched."""
    inside = bulk(source, source)
    assert (inside.returncode, len(inside.stderr.splitlines())) == (1, 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file.jpg").write_bytes(b"of another owner")
    assert f"no {NAME}" in bulk(source, tmp_path / "other").stderr
    assert outputs(tmp_path / "other") == {"file.jpg"}
    assert "there are no files" in bulk(tmp_path / "nowhere", tmp_path / "target").stderr
    assert "Protocol not known: nosuch" in bulk("nosuch://a", tmp_path / "target").stderr
    unreachable_s3 = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    unreachable = run("bulk", "s3://photos/in", tmp_path / "target", **unreachable_s3)
    assert (unreachable.returncode, len(unreachable.stderr.splitlines())) == (1, 1)


def test_another_job_is_not_mixed_in(source: Path, tmp_path: Path) -> None:
    """A folder with the results of other options is rejected, by its manifest."""
    bulk(source, tmp_path / "target")
    other = bulk(source, tmp_path / "target", "--strength", 0.5)
    assert other.returncode == 1
    assert "has the results of another job" in other.stderr


def test_the_target_may_lie_in_the_source(source: Path) -> None:
    """Files of a target folder within the source folder are not enhanced, in any run."""
    for _ in range(2):
        result = bulk(source, source / "better")
        assert "5 files: 3 done, 1 failed, 1 skipped" in result.stdout
