"""The processes of the sandbox: a server that forks them, and the calls that they run.

The server imports the decoders once, so that a process that died is replaced in milliseconds.
"""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import ceil
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any

from app.errors import DamagedImage

# Of imagecodecs, by our codecs, by colour conversion and by tifffile.
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
_ALIGNMENT = 64  # bytes; numpy works fastest on aligned arrays
_STATM = Path("/proc/self/statm")


def main() -> None:
    """Fork processes for as long as the other end of the connection is open.

    Reads None, and after it the connection of a process: forks it and replies with its ID. Reads
    an ID: waits until that process has ended and replies with its exit code, as in `subprocess`.
    """
    control: Connection = Connection(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _preload()
    with suppress(EOFError, OSError):
        while True:
            process = control.recv()
            if process is None:
                control.send(_fork(control, recv_handle(control)))
            else:
                _, status = os.waitpid(process, 0)
                control.send(os.waitstatus_to_exitcode(status))


def _preload() -> None:
    """Load every decoder and the compiled loops: what is loaded later counts as a call's memory."""
    import imagecodecs
    import numpy as np

    import app.imaging.decode  # noqa: F401 -- and with it every decoder
    from app.imaging.resize import make_thumbnail

    for function in _LOADED_ON_FIRST_USE:
        getattr(imagecodecs, function)
    for dtype in (np.uint8, np.uint16):
        make_thumbnail(np.zeros((1, 1, 3), dtype), 1, antialias=False)


def _fork(control: Connection, handle: int) -> int:
    process = os.fork()
    if process:
        os.close(handle)
        return process
    control.close()
    try:
        _serve(Connection(handle))
    finally:
        os._exit(0)


def _serve(connection: Connection) -> None:
    """Run calls until the other end of the connection is closed."""
    _silence()
    while True:
        try:
            memory, cpu_seconds = connection.recv()
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        _reply(connection, _run(request, memory, cpu_seconds))


def aligned(size: int) -> int:
    """Round a number of bytes up, so that what follows is aligned."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def split(shared: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """Cut shared memory into its buffers."""
    parts, start = [], 0
    for size in sizes:
        parts.append(shared[start : start + size])
        start += aligned(size)
    return parts


def _run(request: bytes, memory: int, cpu_seconds: float) -> Any:
    """Return the result of a call, or the exception that it raised."""
    try:
        with _limited(memory, cpu_seconds):
            function, args, kwargs = pickle.loads(request)  # noqa: S301 -- the server's
            return function(*args, **kwargs)
    except MemoryError:
        return DamagedImage("It needs more memory than images of its size do.")
    except Exception as error:
        return error


@contextmanager
def _limited(memory: int, cpu_seconds: float) -> Iterator[None]:
    """Limit the address space and the CPU time for as long as the context lasts."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = ceil(used.ru_utime + used.ru_stime + cpu_seconds)
    _set_soft_limit(resource.RLIMIT_CPU, cpu)  # SIGXCPU, which ends the process
    if _STATM.exists():
        pages = int(_STATM.read_text().split()[0])
        _set_soft_limit(resource.RLIMIT_AS, pages * mmap.PAGESIZE + memory)
    try:
        yield
    finally:
        _set_soft_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        _set_soft_limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _set_soft_limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY and not 0 <= value <= hard:
        value = hard
    resource.setrlimit(which, (value, hard))


def _reply(connection: Connection, result: Any) -> None:
    """Send a result: its arrays in memory that the receiver maps, the rest through the pipe."""
    buffers: list[pickle.PickleBuffer] = []
    try:
        pickled = pickle.dumps(result, protocol=5, buffer_callback=buffers.append)
    except Exception:  # an exception of a library that cannot be pickled
        pickled = pickle.dumps(RuntimeError(f"{type(result).__name__}: {result}"))
        buffers = []
    parts = [buffer.raw() for buffer in buffers]
    sizes = [part.nbytes for part in parts]
    connection.send_bytes(pickle.dumps((pickled, sizes)))
    if sizes:
        handle = _shared_memory(sum(map(aligned, sizes)))
        with mmap.mmap(handle, sum(map(aligned, sizes))) as shared, memoryview(shared) as view:
            for target, part in zip(split(view, sizes), parts, strict=True):
                target[:] = part
                target.release()
        send_handle(connection, handle, 0)  # the ID of the receiver matters on Windows alone
        os.close(handle)


def _shared_memory(size: int) -> int:
    """Return a file descriptor of memory without a name, which nobody can forget to delete."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("image")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle


def _silence() -> None:
    """Discard what C libraries print about damaged files."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


if __name__ == "__main__":
    main()
