"""Functions that tests run in a sandbox; imports are few, since they count as the calls' memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def compute() -> None:
    """Never return."""
    while True:
        pass


def die_once(marker: Path) -> str:
    """Be killed the first time, as by a kernel that is short of memory."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"
