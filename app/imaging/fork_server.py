"""The process that forks the processes of the sandbox; it has loaded the decoders."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from threading import Lock

from app.imaging import sandbox_process


class ForkServer:
    """The process that forks the others; see `app.imaging.sandbox_process.main`.

    `multiprocessing` has one, too, but its processes import the main module of the program, which
    may be a script without a guard, or belong to a framework.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._control, theirs = Pipe()
        with theirs:
            self._popen = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", sandbox_process.__name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def fork(self, connection: Connection) -> int:
        """Fork a process that serves a connection; return its ID."""
        with self._lock:
            self._control.send(None)
            send_handle(self._control, connection.fileno(), self._popen.pid)
            return int(self._control.recv())

    def wait(self, process: int) -> int:
        """Wait until a process has ended; return its exit code, negative for a signal."""
        with self._lock:
            self._control.send(process)
            return int(self._control.recv())

    def end(self) -> None:
        """End the server; its processes end by themselves."""
        self._control.close()
        self._popen.wait()
