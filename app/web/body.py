"""Request bodies, counted as they arrive; and callers that hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from app.errors import BadRequestBody, BodyTooLarge

R = TypeVar("R")

PART = "file"


class _InMemoryParser(MultiPartParser):
    """Parts are never written to disk: the body's own limit bounds them."""

    spool_max_size = 1 << 62


async def read_image(request: Request, max_bytes: int) -> bytes:
    """The image in a request: the part `file` of a form, or else the body itself.

    Raises:
        BodyTooLarge: the body announces, or turns out to have, more than `max_bytes`.
        BadRequestBody: it is empty, or a form without the part.
        ClientDisconnect: the caller hung up.
    """
    _refuse_announced(request, max_bytes)
    chunks = _counted(request, max_bytes)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        image = await _read_part(request, chunks)
    else:
        image = b"".join([chunk async for chunk in chunks])
    if not image:
        raise BadRequestBody(
            f"The body is empty. Send the bytes of an image, or a form with a part {PART!r}."
        )
    return image


async def unless_departed(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """Does the work for as long as the caller listens.

    Raises:
        ClientDisconnect: the caller hung up; the work was cancelled.
    """
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_departure(request))
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        listening.cancel()


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refuse_announced(request: Request, max_bytes: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)


async def _counted(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


async def _read_part(request: Request, chunks: AsyncGenerator[bytes, None]) -> bytes:
    parser = _InMemoryParser(request.headers, chunks, max_files=1, max_fields=16)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequestBody(f"The form cannot be read: {error.message}") from error
    part = form.get(PART)
    if not isinstance(part, UploadFile):
        raise BadRequestBody(f"The form has no file in a part named {PART!r}.")
    return await part.read()


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body is larger than {max_bytes} bytes, the most that is accepted here.",
        accepted_bytes=max_bytes,
    )
