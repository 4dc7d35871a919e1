"""Functions that tests run in a sandbox; imports are few, since they count as the calls' memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def power(base: int, exponent: int) -> int:
    """Compute something."""
    return int(base**exponent)


def process_id() -> int:
    """Return the process that runs this."""
    return os.getpid()


def parent_id() -> int:
    """Return the server of the processes."""
    return os.getppid()


def count_up(size: int, shape: list[int]) -> NDArray[np.uint16]:
    """Return an array."""
    return np.arange(size, dtype=np.uint16).reshape(shape)


def fail(message: str) -> None:
    """Raise an exception of a library."""
    raise LookupError(message)


def crash() -> None:
    """Die of a signal."""
    os.abort()


def allocate(size: int) -> int:
    """Use memory."""
    return len(bytearray(size))


def write(descriptor: int, text: bytes) -> int:
    """Print, as C libraries do."""
    return os.write(descriptor, text)


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


def lie() -> int:
    """Return something else than declared, as a process that obeys a file would."""
    return "no number"  # type: ignore[return-value]
