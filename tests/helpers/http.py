"""Requests, and the checks of responses that many tests share."""

from __future__ import annotations

import io

import httpx
from PIL import Image


def problem(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    """Return the problem document of a response, and check its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"/problems#{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    path = response.request.url.raw_path.decode().partition("?")[0]
    assert document["instance"] == path
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def enlarged(photo: bytes, side: int) -> bytes:
    """Enlarge a JPEG to a width of `side` pixels."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((side, side * 9 // 16)).save(buffer, "JPEG")
    return buffer.getvalue()


def bearer(secret: str) -> dict[str, str]:
    """Return the header with an API key."""
    return {"Authorization": f"Bearer {secret}"}
