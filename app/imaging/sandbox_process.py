"""The processes of the sandbox: a server that forks them, and the calls that they run.

The server imports the decoders once, so that a process that died is replaced in milliseconds.
"""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from app.errors import DamagedImage
from app.imaging.sandbox_messages import receive_request, send_reply
from app.policies import NICENESS

NUMBER = struct.Struct("=q")  # exchanged by the server of the processes and its owner

# Of imagecodecs, by the codecs, by colour conversion and by tifffile.
_LOADED_ON_FIRST_USE = (
    "avif_decode",
    "bitorder_decode",
    "ccittfax3_decode",
    "ccittfax4_decode",
    "ccittrle_decode",
    "cms_transform",
    "deflate_decode",
    "delta_decode",
    "float24_decode",
    "floatpred_decode",
    "jpeg2k_decode",
    "jpeg8_decode",
    "jpeg_decode",
    "jpegxl_decode",
    "lzma_decode",
    "lzw_decode",
    "packbits_decode",
    "packints_decode",
    "png_decode",
    "webp_decode",
    "zlib_decode",
    "zstd_decode",
)
_STATM = Path("/proc/self/statm")


class ForkServer:
    """The process that forks the others; see `main`.

    `multiprocessing` has one, too, but its processes import the main module of the program, which
    may be a script without a guard, or belong to a framework.
    """

    def __init__(self, preload: str = "") -> None:
        self._lock = Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", __name__, str(theirs.fileno()), preload],
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


def main() -> None:
    """Fork processes for as long as the other end of the connection is open.

    Reads 0 with the connection of a process: forks it and replies with its ID. Reads an ID: waits
    until that process has ended and replies with its exit code, as in `subprocess`.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the service, which ends this one
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _preload(sys.argv[2])
    with suppress(OSError):
        while True:
            message, handles, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            if not message:
                return
            (process,) = NUMBER.unpack(message)
            if handles:
                control.sendall(NUMBER.pack(_fork(control, handles[0])))
            else:
                _, status = os.waitpid(process, 0)
                control.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _preload(loader: str) -> None:
    """Load every decoder and the compiled loops: later ones would count as memory of a call.

    Args:
        loader: MODULE:NAME of a function that loads the code of other layers, or "".
    """
    import imagecodecs
    import numpy as np

    import app.imaging.decode  # noqa: F401 -- and with it every decoder
    from app.imaging.resize import make_thumbnail

    for function in _LOADED_ON_FIRST_USE:
        getattr(imagecodecs, function)
    for dtype in (np.uint8, np.uint16):
        make_thumbnail(np.zeros((1, 1, 3), dtype), 1, antialias=False)
    module, _, name = loader.partition(":")
    if module:
        getattr(import_module(module), name)()


def _fork(control: socket.socket, handle: int) -> int:
    process = os.fork()
    if process:
        os.close(handle)
        return process
    control.close()
    try:
        _serve(socket.socket(fileno=handle))
    finally:
        os._exit(0)


def _serve(connection: socket.socket) -> None:
    """Run calls until the other end of the connection is closed."""
    _silence()
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    with suppress(EOFError, OSError):
        while True:
            request, memory, cpu_seconds = receive_request(connection)
            send_reply(connection, _run(request, memory, cpu_seconds))


def _run(request: mmap.mmap, memory: int, cpu_seconds: float) -> Any:
    """Return the result of a call, or the exception that it raised."""
    try:
        with _limit(memory, cpu_seconds):
            with request:
                function, args, kwargs = pickle.loads(request)  # noqa: S301 -- the server's
            return function(*args, **kwargs)
    except MemoryError:
        return DamagedImage("It needs more memory than images of its size do.")
    except Exception as error:
        return error


@contextmanager
def _limit(memory: int, cpu_seconds: float) -> Iterator[None]:
    """Limit the address space and the CPU time for as long as the context lasts."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # SIGPROF, which ends the process
    if _STATM.exists():
        pages = int(_STATM.read_text().split()[0])
        _set_soft_limit(resource.RLIMIT_AS, pages * mmap.PAGESIZE + memory)
    try:
        yield
    finally:
        _set_soft_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _set_soft_limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY and not 0 <= value <= hard:
        value = hard
    resource.setrlimit(which, (value, hard))


def _silence() -> None:
    """Discard the messages of C libraries about damaged files."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


if __name__ == "__main__":
    main()
