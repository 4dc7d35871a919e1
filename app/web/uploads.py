"""Request bodies, counted as they arrive; and callers that hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from app.errors import BadRequestBody, BodyTooLarge, Overloaded, UploadTooSlow
from app.policies import UploadPolicy

R = TypeVar("R")

PART = "file"
JOINED_AT_ONCE = 1 << 20  # bytes: a thread would take longer


class _InMemoryParser(MultiPartParser):
    """Parts are never written to disk: the body's own limit bounds them."""

    spool_max_size = 1 << 62


class Uploads:
    """The bodies that are in memory."""

    def __init__(self, policy: UploadPolicy) -> None:
        self.policy = policy
        self.held = 0

    @contextmanager
    def one(self) -> Iterator[Upload]:
        """Counts what one request sends, for as long as the context lasts."""
        upload = Upload(self)
        try:
            yield upload
        finally:
            self.held -= upload.received


class Upload:
    """One request's body."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._policy = uploads.policy
        self.received = 0

    async def read_image(self, request: Request) -> bytes:
        """The image in a request: the part `file` of a form, or else the body itself.

        Raises:
            BodyTooLarge: the body announces, or turns out to have, too many bytes.
            Overloaded: there is no room for it beside the others.
            UploadTooSlow: it takes too long to arrive.
            BadRequestBody: it is empty, or a form without the part.
            ClientDisconnect: the caller hung up.
        """
        self._refuse_announced(request)
        try:
            async with asyncio.timeout(self._policy.timeout):
                image = await self._read(request)
        except TimeoutError:
            slow = f"The body did not arrive within {self._policy.timeout} seconds."
            raise UploadTooSlow(slow) from None
        if not image:
            raise BadRequestBody(
                f"The body is empty. Send the bytes of an image, or a form with a part {PART!r}."
            )
        return image

    async def _read(self, request: Request) -> bytes:
        chunks = self._counted(request)
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return await _read_part(request, chunks)
        received = [chunk async for chunk in chunks]
        if self.received < JOINED_AT_ONCE:
            return b"".join(received)
        # 60 MB would hold the event loop up for 45 ms; `join` leaves the interpreter to others.
        return await asyncio.to_thread(b"".join, received)

    def _refuse_announced(self, request: Request) -> None:
        # Zeros in front are legal, and `int` takes no more than some thousand digits.
        announced = request.headers.get("content-length", "").lstrip("0")
        if announced.isdecimal() and int(announced) > self._policy.max_bytes:
            raise self._too_large()

    async def _counted(self, request: Request) -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            self.received += len(chunk)
            self._uploads.held += len(chunk)
            if self.received > self._policy.max_bytes:
                raise self._too_large()
            if self._uploads.held > self._policy.budget_bytes:
                raise Overloaded("Too many bytes are being uploaded at once.", retry=1)
            yield chunk

    def _too_large(self) -> BodyTooLarge:
        most = self._policy.max_bytes
        return BodyTooLarge(
            f"The body is larger than {most} bytes, the most that is accepted here.",
            accepted_bytes=most,
        )


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """Does the work for as long as the caller listens.

    Raises:
        ClientDisconnect: the caller hung up; the work was cancelled.
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


async def _read_part(request: Request, chunks: AsyncGenerator[bytes, None]) -> bytes:
    parser = _InMemoryParser(request.headers, chunks, max_files=1, max_fields=16)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequestBody(f"The form cannot be read: {error.message}") from error
    part = form.get(PART)
    if not isinstance(part, UploadFile):
        raise BadRequestBody(f"The form has no file in a part named {PART!r}.")
    return await asyncio.to_thread(part.file.read)
