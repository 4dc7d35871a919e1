"""Processes that die while a bulk run is at work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.bulk.executors import run_in_processes
from app.bulk.run import Job, Status
from app.serving.options import EnhanceOptions
from tests.bulk.workers import DeadlyWorker, DyingWorker, FailingWorker
from tests.helpers.paths import ROOT
from tests.helpers.ray_cluster import ALONE

NAMES = [
    *(f"{number}.jpg" for number in range(17)),
    "deadly-1.jpg",
    "caf\udce9.jpg",
    "deadly-2.jpg",
]

ON_RAY = NAMES[:-1]  # each deadly file ends four of Ray's processes, which start slowly


def make_job(target: Path) -> Job:
    """Return a job whose processes leave a file each in `target`."""
    return Job("source", str(target), EnhanceOptions())


def test_a_file_that_kills_its_process_costs_no_other(tmp_path: Path) -> None:
    """Every other file is done; the deadly ones fail; each costs two processes, not more."""
    results = list(run_in_processes(2, make_job(tmp_path), NAMES, DeadlyWorker))
    assert sorted(result.source for result in results) == sorted(NAMES)
    failed = {result.source: result.reason for result in results if result.status is Status.FAILED}
    assert set(failed) == {"deadly-1.jpg", "deadly-2.jpg"}
    assert all(reason is not None and "SIGKILL" in reason for reason in failed.values())
    started = len(list(tmp_path.iterdir()))
    assert 2 + 2 <= started <= 2 + 2 * 2


@pytest.mark.parametrize(
    ("worker", "message"), [(FailingWorker, "no such model"), (DyingWorker, "SIGKILL")]
)
def test_a_process_that_cannot_start_ends_the_run(
    worker: type[FailingWorker], message: str, tmp_path: Path
) -> None:
    """A failure that no file causes is an error of the run."""
    with pytest.raises(RuntimeError, match=message):
        list(run_in_processes(2, make_job(tmp_path), NAMES, worker))


def test_on_ray(tmp_path: Path) -> None:
    """On Ray, too, a file that kills its process fails, and every other file is done."""
    code = f"""
from pathlib import Path
import ray
from app.bulk.executors import run_on_ray
from tests.bulk.test_process_executor import ON_RAY, make_job
from tests.bulk.workers import DeadlyWorker

ray.init(num_cpus=1, log_to_driver=False)  # for one process at a time: each starts slowly
for result in run_on_ray(make_job(Path({str(tmp_path)!r})), ON_RAY, DeadlyWorker):
    print('result', ascii(result.source), result.status)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | ALONE | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines() if line.startswith("result")]
    status = {name: status for _, name, status in lines}  # Ray prints the deaths as well
    assert status == {
        ascii(name): "failed" if name.startswith("deadly") else "done" for name in ON_RAY
    }
