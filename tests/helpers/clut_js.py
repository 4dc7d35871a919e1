"""Calls of the module clut.js in a browser, and comparisons with the service."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
from PIL import Image, ImageOps
from playwright.sync_api import Page
from skimage.color import deltaE_ciede2000, rgb2lab

# Bytes cross the boundary as base64.
PRELUDE = """async (argument) => {
  const clut = await import("/static/clut.js");
  const read = (text, type) =>
    new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type });
  const write = async (blob) => {
    let text = "";
    for (const byte of new Uint8Array(await blob.arrayBuffer())) text += String.fromCharCode(byte);
    return btoa(text);
  };
  const service = new clut.ClutService(location.origin);
  const fail = (promise) => promise.then(() => null, (error) => error);
"""


def run(page: Page, script: str, **argument: Any) -> Any:
    """Run JavaScript with `clut`, `service` and `argument`; return what it returns."""
    encoded = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in argument.items()
    }
    return page.evaluate(f"{PRELUDE}{script}\n}}", encoded)


def decode(image: bytes) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8, upright."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(image))).convert("RGB"))


def predict(page: Page, photo: bytes) -> tuple[str, int]:
    """Predict the look of a photo in the browser; return the token and the bytes sent."""
    token, size = run(
        page,
        """
        const image = await clut.decodeImage(read(argument.photo));
        const thumbnail = await clut.makeThumbnail(image);
        return [(await service.predictLook(thumbnail)).token, thumbnail.size];
        """,
        photo=photo,
    )
    return token, size


def apply(page: Page, photo: bytes, token: str, **options: Any) -> bytes:
    """Apply a look to a photo in the browser, and return a PNG."""
    result = run(
        page,
        """
        const image = await clut.decodeImage(read(argument.photo));
        const { lut } = await service.getLook(argument.token);
        const canvas = await clut.applyLut(image, lut, argument.options);
        return write(await clut.encodeImage(canvas, { type: "image/png" }));
        """,
        photo=photo,
        token=token,
        options=options,
    )
    return base64.b64decode(result)


def enhance(client: httpx.Client, photo: bytes, **query: Any) -> httpx.Response:
    """Enhance a photo on the server."""
    return client.post("/enhance", params=query, content=photo).raise_for_status()


def share_of_close_pixels(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of pixels that differ by at most two levels in each channel."""
    assert one.shape == other.shape
    difference = np.abs(one.astype(int) - other).max(axis=2)
    return float((difference <= 2).mean())


def look_difference(client: httpx.Client, photo: bytes, token: str) -> float:
    """Return the mean CIEDE2000 difference of a look from the one of the whole photo."""
    whole, other = (
        rgb2lab(decode(enhance(client, photo, format="png", max_side=1024, **query).content))
        for query in ({}, {"look": token})
    )
    return float(deltaE_ciede2000(whole, other).mean())  # type: ignore[no-untyped-call]
