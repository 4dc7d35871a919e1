"""Requests as bytes, over sockets, that HTTP libraries do not send."""

from __future__ import annotations

import socket

from tests.helpers.waiting import PATIENCE


def connect(port: int) -> socket.socket:
    """Connect to a server of this machine; a read that takes too long fails the test."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def receive_all(connection: socket.socket, *, resets: bool = True) -> bytes:
    """Return all data until the server closes the connection or, if `resets`, resets it."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        if not resets:
            raise
    return b"".join(parts)


def exchange(port: int, sent: bytes, *, resets: bool = True) -> bytes:
    """Send bytes on a new connection, and return all that comes back."""
    with connect(port) as connection:
        connection.sendall(sent)
        return receive_all(connection, resets=resets)


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Return a POST request with these headers, after which the server closes the connection."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_of(response: bytes) -> int:
    """Return the status of a response."""
    return int(response.split(b" ", 2)[1])
