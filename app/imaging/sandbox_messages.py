"""Messages between the server and the processes of the sandbox, in shared memory.

The processes run the calls of the server, so requests are pickles. Replies come from processes that
have read untrusted files, so they are JSON, which executes nothing: values are checked against
the type that the called function declares, and the bytes and arrays lie beside the JSON.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from math import prod
from typing import Any, get_type_hints

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from app.errors import PROBLEMS, Problem
from app.imaging.raster import FormatError

_REQUEST = struct.Struct("=Qd")  # bytes of memory and seconds of CPU time of the call
_REPLY = struct.Struct("=QQ")  # where the JSON lies, and its length
_MAX_JSON = 1 << 20  # bytes; large values lie beside it
_ALIGNMENT = 64  # bytes; numpy works fastest on aligned arrays
_BLOCK = "$block"  # the key of a reference to shared memory: offset and length
_DTYPES = {"uint8": np.uint8, "uint16": np.uint16, "float32": np.float32}
_CONFIG = ConfigDict(arbitrary_types_allowed=True)  # numpy's arrays


class BrokenMessageError(Exception):
    """A message is not one that this module sends."""


class DecoderError(Exception):
    """An error of a library in a process of the sandbox: the name of its class and its message."""


@dataclass(frozen=True)
class _Failure:
    """An exception as it is sent: the code of a Problem or the name of a class, and its message."""

    kind: str
    message: str
    extra: dict[str, int]


def pack_request(function: Callable[..., Any], args: Any, kwargs: Any) -> int:
    """Write a call to shared memory; return its file descriptor."""
    handle = _shared_memory()
    with open(handle, "wb", closefd=False) as file:  # copies large bytes once
        pickle.dump((function, args, kwargs), file, protocol=5)
    return handle


def send_request(connection: socket.socket, handle: int, memory: int, cpu_seconds: float) -> None:
    """Send a call and its limits.

    Raises:
        OSError: the process has ended.
    """
    socket.send_fds(connection, [_REQUEST.pack(memory, cpu_seconds)], [handle])


def receive_request(connection: socket.socket) -> tuple[mmap.mmap, int, float]:
    """Receive a pickled call, its memory in bytes and its seconds of CPU time.

    Raises:
        EOFError: the other end was closed.
    """
    (memory, cpu_seconds), handle = _receive(connection, _REQUEST)
    try:
        return mmap.mmap(handle, 0, access=mmap.ACCESS_READ), memory, cpu_seconds
    finally:
        os.close(handle)


def send_reply(connection: socket.socket, reply: Any) -> None:
    """Send a result, or the exception that a call raised.

    Raises:
        TypeError: it consists of something else than dataclasses, lists, numbers, text, bytes and
            arrays.
    """
    writer = _Writer()
    key, value = (
        ("failure", _describe(reply)) if isinstance(reply, Exception) else ("result", reply)
    )
    text = json.dumps({key: value}, default=writer.encode).encode()
    start = writer.add(text)
    handle = writer.write()
    try:
        socket.send_fds(connection, [_REPLY.pack(start, len(text))], [handle])
    finally:
        os.close(handle)


def receive_reply(connection: socket.socket, function: Callable[..., Any]) -> Any:
    """Receive the result of a function, or the exception that it raised.

    Raises:
        EOFError, OSError: the process has ended.
        TimeoutError: of the socket.
        BrokenMessageError: the result is not of the type that the function declares.
    """
    (start, length), handle = _receive(connection, _REPLY)
    try:
        return _parse(_Reader(handle), start, length, function)
    except Exception as error:  # whatever a process that obeys a file may cause here
        raise BrokenMessageError from error
    finally:
        os.close(handle)


def _parse(reader: _Reader, start: int, length: int, function: Callable[..., Any]) -> Any:
    """Return the result or the exception that the JSON at an offset describes."""
    if length > _MAX_JSON:
        raise BrokenMessageError
    reply = json.loads(reader.read(start, length), object_hook=reader.decode)
    if "failure" in reply:
        return _rebuild(TypeAdapter(_Failure).validate_python(reply["failure"]))
    return _result_type(function).validate_python((reply["result"],))[0]


@lru_cache
def _result_type(function: Callable[..., Any]) -> TypeAdapter[Any]:
    """Return the validator of a function's results; in a tuple, since classes take no settings."""
    result = get_type_hints(function)["return"]
    return TypeAdapter(tuple[result], config=_CONFIG)  # type: ignore[valid-type]


def _describe(error: Exception) -> _Failure:
    if isinstance(error, Problem):
        return _Failure(error.code, error.detail, error.extra)  # type: ignore[arg-type]
    return _Failure(type(error).__name__, str(error), {})


def _rebuild(failure: _Failure) -> Exception:
    for problem in PROBLEMS:
        if problem.code == failure.kind:
            return problem(failure.message, **failure.extra)
    if failure.kind == FormatError.__name__:
        return FormatError(failure.message)
    return DecoderError(f"{failure.kind}: {failure.message}")


class _Writer:
    """Collects the blocks of a message."""

    def __init__(self) -> None:
        self._blocks: list[tuple[int, Any]] = []
        self._size = 0

    def add(self, block: Any) -> int:
        """Place bytes, or an array of bytes, behind the others; return the offset."""
        start, view = self._size, memoryview(block)
        self._blocks.append((start, view))
        self._size += -(-len(view) // _ALIGNMENT) * _ALIGNMENT
        return start

    def encode(self, value: Any) -> Any:
        """Return a value that `json` can write in place of another."""
        if isinstance(value, bytes):
            return {_BLOCK: [self.add(value), len(value)]}
        if isinstance(value, np.ndarray):
            flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            place = [self.add(flat), flat.size]
            return {_BLOCK: place, "dtype": value.dtype.name, "shape": value.shape}
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        raise TypeError(f"the sandbox cannot return {type(value).__name__}")

    def write(self) -> int:
        """Write the blocks to shared memory; return its file descriptor."""
        handle = _shared_memory()
        os.ftruncate(handle, self._size)
        with mmap.mmap(handle, self._size) as shared, memoryview(shared) as view:
            for start, block in self._blocks:
                view[start : start + len(block)] = block
        return handle


class _Reader:
    """Reads the blocks of a message; every offset and length is checked."""

    def __init__(self, handle: int) -> None:
        if hasattr(fcntl, "F_ADD_SEALS"):  # a sender that shrinks it later would crash this process
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self._shared = memoryview(mmap.mmap(handle, 0))

    def read(self, start: int, length: int) -> bytes:
        """Return a copy of a block, which the sender cannot change any more."""
        return bytes(self._view(start, length))

    def decode(self, value: dict[str, Any]) -> Any:
        """Return the bytes or the array that a JSON object stands for, or the object itself."""
        if _BLOCK not in value:
            return value
        start, length = value[_BLOCK]
        if "dtype" not in value:
            return self.read(start, length)
        dtype, shape = np.dtype(_DTYPES[value["dtype"]]), tuple(value["shape"])
        if prod(shape) * dtype.itemsize != length or start % _ALIGNMENT:
            raise BrokenMessageError
        return np.frombuffer(self._view(start, length), dtype).reshape(shape)

    def _view(self, start: int, length: int) -> memoryview:
        if not 0 <= start <= start + length <= len(self._shared):
            raise BrokenMessageError
        return self._shared[start : start + length]


def _receive(connection: socket.socket, form: struct.Struct) -> tuple[tuple[Any, ...], int]:
    """Receive some numbers and a file descriptor."""
    message, handles, _, _ = socket.recv_fds(connection, form.size, 1)
    if not message:
        raise EOFError
    if len(message) != form.size or len(handles) != 1:
        for handle in handles:
            os.close(handle)
        raise BrokenMessageError
    return form.unpack(message), handles[0]


def _shared_memory() -> int:
    """Return a file descriptor of anonymous memory, freed when the last descriptor is closed."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
