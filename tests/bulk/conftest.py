"""Fixtures of the tests of bulk work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.helpers.paths import PHOTOS
from tests.helpers.server import PATIENCE, free_port
from tests.helpers.waiting import wait_until


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """Start the process that `tests.helpers.server` forks; bulk runs of the tests fork it, too."""
    forkserver.ensure_running()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Photos in two folders, with one that is damaged and one that is no image."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(["lake.jpg", "otters.jpg", "sunset.jpg"]):
        shutil.copy(PHOTOS / name, folder / ("deep" if number else "") / name)
    (folder / "damaged.jpg").write_bytes((PHOTOS / "lake.jpg").read_bytes()[:9000])
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start an S3 on this machine; return the environment in which programs find it."""
    port = free_port()
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_up(f"http://127.0.0.1:{port}/moto-api/"), PATIENCE)
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.terminate()
        process.wait(PATIENCE)
        log.close()


def _is_up(url: str) -> bool:
    try:
        with urlopen(url):  # noqa: S310 -- http
            return True
    except URLError:
        return False
