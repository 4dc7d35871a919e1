"""Receives request bodies within limits of size, memory and time; cancels work on disconnect."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.errors import (
    BadRequestBody,
    BodyTooLarge,
    Overloaded,
    UnsupportedEncoding,
    UploadTooSlow,
)
from app.policies import UploadPolicy
from app.web.forms import PART, is_form, read_form_file

R = TypeVar("R")

STEP = 1 << 16  # bytes that zlib is given at a time
JOINED_AT_ONCE = 1 << 20  # bytes: a change of threads would take longer
PIECE = 1 << 20  # bytes that are inflated at a time
WINDOW = 1 << 18  # bytes over which the rate of a body is averaged; less occupies no place
MAX_MEMBERS = 64  # of a gzip body: each costs a new decompressor

_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's window bits, which name the format
_RAW_DEFLATE = -15  # without the header of zlib; some clients send this as "deflate"


class Uploads:
    """The request bodies in memory.

    Attributes:
        policy: their limits.
        held: bytes of all bodies, inflated ones included.
    """

    def __init__(self, policy: UploadPolicy) -> None:
        self.policy = policy
        self.held = 0

    @contextmanager
    def one(self) -> Iterator[Upload]:
        """Count one request's body until the context ends."""
        upload = Upload(self)
        try:
            yield upload
        finally:
            self.held -= upload.held


class Upload:
    """One request's body.

    Attributes:
        held: bytes in memory.
    """

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._policy = uploads.policy
        self.held = 0

    async def receive(self, request: Request) -> bytes:
        """Return the body as it was sent.

        Raises:
            UnsupportedEncoding: its content encoding cannot be decoded; no byte was read.
            BodyTooLarge: the body has, or its Content-Length announces, too many bytes.
            Overloaded: the memory for bodies is used up.
            UploadTooSlow: it did not arrive in time, or a part of it arrived too slowly.
            ClientDisconnect: the client disconnected.
        """
        _encoding(request)
        self._check_announced(request)
        try:
            end = asyncio.get_running_loop().time() + self._policy.timeout
            async with asyncio.timeout_at(end) as limit:
                received = [chunk async for chunk in self._receive_chunks(request, limit, end)]
        except TimeoutError:
            raise self._too_slow() from None
        if self.held <= JOINED_AT_ONCE:
            return b"".join(received)
        # A large join would hold up the event loop; `join` does not hold the interpreter's lock.
        return await asyncio.to_thread(b"".join, received)

    async def extract_image(self, request: Request, body: bytes) -> bytes:
        """Return the image in a body: the part `file` of a form, or the whole body.

        Raises:
            BodyTooLarge: the body inflates to too many bytes.
            Overloaded: the memory for bodies is used up.
            BadRequestBody: it is empty, damaged, or a form without the part.
        """
        encoding = _encoding(request)
        if encoding:
            body = await self._inflate(body, encoding)
        content_type = request.headers.get("content-type", "")
        if is_form(content_type):
            body = await asyncio.to_thread(read_form_file, content_type, body)
        if not body:
            raise BadRequestBody(
                f"The body is empty. Send the bytes of an image, or a form with a part {PART!r}."
            )
        return body

    async def _inflate(self, body: bytes, encoding: str) -> bytes:
        pieces, size = [], 0
        inflating = inflate(body, encoding)
        while (piece := await asyncio.to_thread(next, inflating, None)) is not None:
            size += len(piece)
            self._hold(len(piece), size)
            pieces.append(piece)
        return await asyncio.to_thread(b"".join, pieces)

    def _check_announced(self, request: Request) -> None:
        # Leading zeros are legal, and `int` accepts only some thousand digits.
        announced = request.headers.get("content-length", "").lstrip("0")
        if announced.isdecimal() and (
            len(announced) > len(str(self._policy.max_bytes))
            or int(announced) > self._policy.max_bytes
        ):
            raise self._too_large()

    async def _receive_chunks(
        self, request: Request, limit: asyncio.Timeout, end: float
    ) -> AsyncGenerator[bytes, None]:
        """Yield the parts of a body, and move the limit of time from window to window."""
        clock = asyncio.get_running_loop().time
        async for chunk in request.stream():
            windows = self.held // WINDOW
            self._hold(len(chunk), self.held + len(chunk))
            if self.held // WINDOW > windows:
                limit.reschedule(min(end, clock() + WINDOW / self._policy.min_rate))
            yield chunk

    def _hold(self, more: int, size: int) -> None:
        """Count `more` bytes of a body that now has `size` bytes."""
        self.held += more
        self._uploads.held += more
        if size > self._policy.max_bytes:
            raise self._too_large()
        if self._uploads.held > self._policy.budget_bytes:
            raise Overloaded("The memory for request bodies is used up.", retry=1)

    def _too_slow(self) -> UploadTooSlow:
        policy = self._policy
        return UploadTooSlow(
            f"The body did not arrive within {policy.timeout} seconds, or {WINDOW} bytes of it "
            f"arrived at fewer than {policy.min_rate} bytes per second."
        )

    def _too_large(self) -> BodyTooLarge:
        limit = self._policy.max_bytes
        return BodyTooLarge(f"The body is larger than {limit} bytes.", accepted_bytes=limit)


def _encoding(request: Request) -> str | None:
    """Return the content encoding of a body, or None.

    Raises:
        UnsupportedEncoding: it is none of `_ENCODINGS`, or there are several.
    """
    named = ",".join(request.headers.getlist("content-encoding")).lower()
    codings = [
        it for it in (part.strip() for part in named.split(",")) if it not in ("", "identity")
    ]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _ENCODINGS:
        raise UnsupportedEncoding(
            f"The content encoding {', '.join(codings)[:100]!r} is not supported.",
            accepted=["gzip", "deflate", "identity"],
            accept_encoding="gzip, deflate, identity",
        )
    return codings[0]


def inflate(body: bytes, encoding: str) -> Iterator[bytes]:
    """Yield the content of a compressed body in pieces of at most 1 MiB.

    Raises:
        BadRequestBody: the data is damaged, truncated, or has too many members.
    """
    bits = _ENCODINGS[encoding]
    if encoding == "deflate" and not _has_zlib_header(body):
        bits = _RAW_DEFLATE
    decompressor, members = zlib.decompressobj(bits), 1
    try:
        for begin in range(0, len(body), STEP):
            data = body[begin : begin + STEP]
            while data:
                if decompressor.eof:
                    decompressor, members = zlib.decompressobj(bits), members + 1
                if members > MAX_MEMBERS:
                    raise BadRequestBody(f"The body has more than {MAX_MEMBERS} gzip members.")
                yield decompressor.decompress(data, PIECE)
                data = decompressor.unused_data or decompressor.unconsumed_tail
        yield decompressor.flush()
    except zlib.error as error:
        raise BadRequestBody(f"The {encoding} data of the body is damaged.") from error
    if not decompressor.eof:
        raise BadRequestBody(f"The {encoding} data of the body is truncated.")


def _has_zlib_header(body: bytes) -> bool:
    """Return whether deflate data begins with the header of RFC 1950."""
    return len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """Return the result of work, which is cancelled when the client disconnects.

    Raises:
        ClientDisconnect: the client disconnected.
    """
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        listening.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
