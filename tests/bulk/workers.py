"""Workers of bulk processes for tests, instead of the service."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from app.bulk.run import Job, Result, Status


class DeadlyWorker:
    """Returns "done" for every file, but kills its process at each whose name begins with "deadly".

    It notes each of its processes as a file in the target folder.
    """

    def __init__(self, job: Job) -> None:
        Path(job.target, str(os.getpid())).touch()

    def __call__(self, names: Sequence[str]) -> list[Result]:
        """Return a result for each file, or die."""
        if any(name.startswith("deadly") for name in names):
            os.kill(os.getpid(), signal.SIGKILL)
        return [Result(name, Status.DONE, target=name) for name in names]


class FailingWorker:
    """Cannot start."""

    def __init__(self, _: Job) -> None:
        raise ValueError("there is no such model")

    def __call__(self, names: Sequence[str]) -> list[Result]:
        """Is never reached."""
        raise NotImplementedError


class DyingWorker(FailingWorker):
    """Dies as it starts, as where memory is short."""

    def __init__(self, _: Job) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
