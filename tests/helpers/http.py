"""Requests, and the checks of responses that many tests share."""

from __future__ import annotations

import io

import httpx
import numpy as np
from PIL import Image


def problem(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    """Return the problem document of a response, and check its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = response.json()
    assert document["type"] == f"/problems#{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    path = response.request.url.raw_path.decode().partition("?")[0]
    assert document["instance"] == path[:200]
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def enlarged(photo: bytes, side: int) -> bytes:
    """Enlarge a JPEG to a width of `side` pixels."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((side, side * 9 // 16)).save(buffer, "JPEG")
    return buffer.getvalue()


def with_grain(photo: bytes) -> bytes:
    """Add the grain of a sensor to a JPEG, without which an enlarged photo has few bytes."""
    pixels = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")).astype(np.int16)
    grain = np.random.default_rng(0).normal(0, 3, pixels.shape).astype(np.int16)
    buffer = io.BytesIO()
    noisy = np.clip(pixels + grain, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def bearer(secret: str) -> dict[str, str]:
    """Return the header with an API key."""
    return {"Authorization": f"Bearer {secret}"}
