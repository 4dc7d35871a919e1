"""The header X-Image-Notes: treatments of an image that clients may not expect."""

from __future__ import annotations

import struct
from io import BytesIO

import httpx
import imagecodecs
import numpy as np
from PIL import Image

from tests.helpers.files import saved, scene, scene_16, with_chunks
from tests.helpers.gain_maps import apple_heic, apple_jpeg, read_light, ultra_hdr


def test_a_truncated_jpeg_is_refused_unless_asked(client: httpx.Client) -> None:
    """`truncated=fill` returns the present part and notes it; without it the file is damaged."""
    body = saved(scene(), "JPEG", quality=95)
    cut = body[: len(body) * 2 // 3]
    assert client.post("/enhance", content=cut).status_code == 422
    for query in ("truncated=fill", "truncated=fill&min_change=100"):
        filled = client.post(f"/enhance?{query}", content=cut)
        assert filled.status_code == 200
        assert filled.headers["X-Image-Notes"] == "truncated"
        assert Image.open(BytesIO(filled.content)).convert("RGB").size == (96, 64)
    for path in ("/enhance?truncated=fill", "/lut?truncated=fill"):
        assert "X-Image-Notes" not in client.post(path, content=body).headers


def test_the_lut_of_a_truncated_jpeg_is_refused_unless_asked(client: httpx.Client) -> None:
    """`POST /lut` takes the option too, and its look is that of the filled image."""
    body = saved(scene(1200, 800), "JPEG", quality=95)
    cut = body[: len(body) * 2 // 3]
    assert client.post("/lut", content=cut).status_code == 422
    filled = client.post("/lut?truncated=fill", content=cut)
    assert filled.status_code == 200
    assert filled.headers["X-Image-Notes"] == "truncated"
    look = filled.headers["X-Look"]
    assert look != client.post("/lut", content=body).headers["X-Look"]
    images = []
    for given in ({}, {"look": look}):
        params = {"truncated": "fill", "format": "png", **given}
        png = client.post("/enhance", params=params, content=cut).content
        images.append(np.asarray(Image.open(BytesIO(png))).astype(int))
    assert np.abs(images[0] - images[1]).max() <= 2  # thumbnails of two scales


def test_an_unknown_policy_is_a_bad_parameter(client: httpx.Client) -> None:
    """The document names the parameter."""
    response = client.post("/enhance?truncated=maybe", content=b"")
    assert response.status_code == 400
    assert "truncated" in response.json()["detail"]


def test_hdr_is_tone_mapped(client: httpx.Client) -> None:
    """An HDR image becomes SDR, and the response notes it."""
    body = with_chunks(imagecodecs.png_encode(scene_16()), cICP=struct.pack("4B", 9, 16, 0, 1))
    for path in ("/enhance", "/lut"):
        assert client.post(path, content=body).headers["X-Image-Notes"] == "tone-mapped"


def test_further_pages_are_left_out(client: httpx.Client) -> None:
    """The first page of a TIFF is enhanced; a response header reports that there are more."""
    first, second = (Image.fromarray(it) for it in (scene(), scene(32, 16)))
    body = saved(first, "TIFF", save_all=True, append_images=[second])
    response = client.post("/enhance", content=body)
    assert response.headers["X-Image-Notes"] == "first-page"
    assert Image.open(BytesIO(response.content)).size == (96, 64)


def test_gain_maps_are_kept_or_dropped(client: httpx.Client) -> None:
    """`hdr=keep`, the default, returns an HDR image, as libultrahdr reads it; `drop` an SDR one."""
    for body in (ultra_hdr(), apple_jpeg("maker note", orientation=6)):
        for query in ("", "?hdr=keep", "?hdr=keep&metadata=strip", "?max_side=48"):
            kept = client.post(f"/enhance{query}", content=body).content
            assert read_light(kept).max() > 1.5
        for query in ("?hdr=drop", "?hdr=drop&min_change=100"):
            dropped = client.post(f"/enhance{query}", content=body).content
            assert b"GainMap" not in dropped
            assert b"MPF\0" not in dropped
            with Image.open(BytesIO(dropped)) as image:
                assert getattr(image, "n_frames", 1) == 1


def test_the_gain_map_of_a_heic_becomes_ultra_hdr(client: httpx.Client) -> None:
    """HEIC is not written, so the result is a JPEG; it is HDR."""
    response = client.post("/enhance", content=apple_heic("xmp"))
    assert response.headers["Content-Type"] == "image/jpeg"
    assert read_light(response.content).max() > 1.5
