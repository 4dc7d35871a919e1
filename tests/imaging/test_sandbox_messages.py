"""Replies of sandbox processes that obey a hostile file."""

from __future__ import annotations

import json
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import DamagedImage
from app.imaging.raster import FormatError, Header, Metadata
from app.imaging.sandbox_messages import (
    _REPLY,
    BrokenMessageError,
    DecoderError,
    receive_reply,
    send_reply,
)


def header() -> Header:
    """Declare a header as the result."""
    raise NotImplementedError


def pixels() -> NDArray[np.uint16]:
    """Declare pixels as the result."""
    raise NotImplementedError


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(10)
        yield here, there


def forge(connection: socket.socket, reply: bytes, place: tuple[int, int] | None = None) -> None:
    """Send shared memory with these bytes, and where the JSON lies in it."""
    handle = os.memfd_create("forged", os.MFD_ALLOW_SEALING)
    os.write(handle, reply)
    socket.send_fds(connection, [_REPLY.pack(*(place or (0, len(reply))))], [handle])
    os.close(handle)


def test_round_trip(sockets: tuple[socket.socket, socket.socket]) -> None:
    """Dataclasses, bytes and arrays arrive as they were sent, and may be empty."""
    here, there = sockets
    sent = Header(4, 3, profile=b"\0profile", metadata=Metadata(exif=b"", xmp=b"<x/>"))
    send_reply(there, sent)
    assert receive_reply(here, header) == sent
    for array in (np.arange(12, dtype=np.uint16).reshape(3, 4), np.zeros((0, 5), np.uint16)):
        send_reply(there, array)
        np.testing.assert_array_equal(receive_reply(here, pixels), array)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DamagedImage("It is cut short."), DamagedImage),
        (FormatError("it has no chunks"), FormatError),
        (KeyError("anything"), DecoderError),
    ],
)
def test_exceptions(
    sockets: tuple[socket.socket, socket.socket], error: Exception, kind: type[Exception]
) -> None:
    """Those with a message for clients keep their class; all others get one of their own."""
    here, there = sockets
    send_reply(there, error)
    received = receive_reply(here, header)
    assert type(received) is kind
    assert str(error) in str(received)


def block(place: list[int], **more: object) -> bytes:
    """Return a reply with a block of shared memory as its result."""
    return json.dumps({"result": {"$block": place, **more}}).encode()


FORGED = {
    "a pickle": pickle.dumps(("result", 1)),
    "not JSON": b"{",
    "nested deeply": b"[" * 100_000,
    "a huge number": b'{"result": ' + b"9" * 10_000 + b"}",
    "nothing": b"{}",
    "another type": b'{"result": 5}',
    "a field of another type": b'{"result": {"width": "wide", "height": 3}}',
    "an unknown failure": b'{"failure": {"kind": [], "message": "", "extra": {}}}',
    "a failure that repeats an argument": b'{"failure": {"kind": "damaged-image", "message": "", '
    b'"extra": {"detail": 1}}}',
    "a block behind the end": block([0, 1 << 40]),
    "a block before the start": block([-64, 32]),
    "an array behind the end": block([0, 1 << 20], dtype="uint16", shape=[1 << 19]),
    "an array of another length": block([0, 8], dtype="uint16", shape=[40, 30]),
    "an array of negative sides": block([0, 12], dtype="uint16", shape=[-2, -3]),
    "an array of objects": block([0, 8], dtype="object", shape=[1]),
    "an array at an odd offset": block([1, 8], dtype="uint16", shape=[4]),
}


@pytest.mark.parametrize("function", [header, pixels])
@pytest.mark.parametrize("reply", FORGED.values(), ids=FORGED.keys())
def test_forged_replies_are_rejected(
    sockets: tuple[socket.socket, socket.socket], reply: bytes, function: object
) -> None:
    """Nothing but a value of the declared type is accepted, and nothing is executed."""
    here, there = sockets
    forge(there, reply)
    with pytest.raises(BrokenMessageError):
        receive_reply(here, function)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [(0, 1 << 40), (1 << 40, 4), ((1 << 64) - 4, 8)])
def test_json_outside_the_memory_is_rejected(
    sockets: tuple[socket.socket, socket.socket], place: tuple[int, int]
) -> None:
    """Offset and length are checked."""
    here, there = sockets
    forge(there, b"{}", place)
    with pytest.raises(BrokenMessageError):
        receive_reply(here, header)


def test_memory_of_a_reply_cannot_shrink_any_more(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """Reading an array whose memory is gone would end the server with SIGBUS."""
    here, there = sockets
    handle = os.memfd_create("forged", os.MFD_ALLOW_SEALING)
    array = bytes(1 << 16)
    reply = block([0, len(array)], dtype="uint16", shape=[len(array) // 2])
    os.write(handle, array + reply)
    socket.send_fds(there, [_REPLY.pack(len(array), len(reply))], [handle])
    received = receive_reply(here, pixels)
    with pytest.raises(PermissionError):
        os.ftruncate(handle, 0)
    os.close(handle)
    assert not received.any()


def test_a_reply_without_memory_is_rejected(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """So is one that is cut short, and a file that is not memory."""
    here, there = sockets
    there.sendall(_REPLY.pack(0, 2))
    with pytest.raises(BrokenMessageError):
        receive_reply(here, header)
    with Path(os.devnull).open("rb") as file:
        socket.send_fds(there, [_REPLY.pack(0, 2)], [file.fileno()])
    with pytest.raises(BrokenMessageError):
        receive_reply(here, header)
