"""The process that forks the processes of the sandbox; it has loaded the decoders."""

from __future__ import annotations

import socket
import subprocess
import sys
from threading import Lock

from app.imaging import sandbox_process
from app.imaging.sandbox_process import NUMBER


class ForkServer:
    """The process that forks the others; see `app.imaging.sandbox_process.main`.

    `multiprocessing` has one, too, but its processes import the main module of the program, which
    may be a script without a guard, or belong to a framework.
    """

    def __init__(self, preload: str = "") -> None:
        self._lock = Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", sandbox_process.__name__, str(theirs.fileno()), preload],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    @property
    def pid(self) -> int:
        """The ID of the process."""
        return self._popen.pid

    def fork(self, connection: socket.socket) -> int:
        """Fork a process that serves a connection; return its ID.

        Raises:
            EOFError, OSError: the server has ended.
        """
        with self._lock:
            socket.send_fds(self._control, [NUMBER.pack(0)], [connection.fileno()])
            return self._receive()

    def wait(self, process: int) -> int:
        """Wait until a process has ended; return its exit code, negative for a signal.

        Raises:
            EOFError, OSError: the server has ended.
        """
        with self._lock:
            self._control.sendall(NUMBER.pack(process))
            return self._receive()

    def end(self) -> None:
        """End the server; its processes end by themselves."""
        self._control.close()
        self._popen.wait()

    def _receive(self) -> int:
        reply = self._control.recv(NUMBER.size)
        if not reply:
            raise EOFError
        (number,) = NUMBER.unpack(reply)
        return int(number)
