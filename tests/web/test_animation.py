"""Animations through POST /enhance and POST /lut: the responses, and their formats."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.helpers.animations import DURATIONS, FORMATS, animation, read_animation, tiny_gif
from tests.helpers.browser import launching, needs_chromium, visiting
from tests.helpers.files import saved, scene
from tests.helpers.http import problem
from tests.helpers.image_decoder import Timing, read_timing
from tests.helpers.server import serving

ALL = (*FORMATS, "avif")

needs_ffprobe = pytest.mark.skipif(
    shutil.which("ffprobe") is None, reason="there is no ffprobe: apt-get install ffmpeg"
)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("own", FORMATS)
@pytest.mark.parametrize("query", ["", *(f"&format={it}" for it in FORMATS)])
def test_animations_stay_animations(
    client: httpx.Client, own: str, query: str, transparent: bool
) -> None:
    """In their own format or another: frames, durations, plays and alpha are the same."""
    body = animation(own, transparent=transparent)
    response = client.post(f"/enhance?model=vivid{query}", content=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == f"image/{query.removeprefix('&format=') or own}"
    assert "X-Image-Notes" not in response.headers
    before, after = read_animation(body), read_animation(response.content)
    assert after.milliseconds == before.milliseconds == list(DURATIONS)
    assert after.plays == before.plays
    np.testing.assert_array_equal(after.frames[..., 3], before.frames[..., 3])
    assert np.abs(after.frames.astype(int) - before.frames).mean() > 2  # the look


@pytest.mark.parametrize("query", ["", "&format=avif", "&format=webp&max_side=30"])
@pytest.mark.parametrize("own", ["avif", "webp"])
def test_avif_sequences(client: httpx.Client, own: str, query: str) -> None:
    """They are read and written as the other animations, lossy in alpha as well."""
    body = animation(own, transparent=True)
    response = client.post(f"/enhance?model=vivid{query}", content=body)
    assert response.status_code == 200, response.text
    expected = "avif" if "avif" in query else "webp" if query else own
    assert response.headers["content-type"] == f"image/{expected}"
    before, after = read_animation(body), read_animation(response.content)
    assert after.milliseconds == pytest.approx(before.milliseconds, abs=1)
    if "max_side" in query:
        assert after.frames.shape[1:] == (20, 30, 4)
        return
    assert np.abs(after.frames[..., 3].astype(int) - before.frames[..., 3]).mean() < 0.1
    assert np.abs(after.frames.astype(int) - before.frames).mean() > 2  # the look
    lut = client.post("/lut?model=vivid", content=body)
    assert lut.headers["X-Look"] == response.headers["X-Look"]


@pytest.mark.parametrize("own", ["webp", "apng"])
def test_one_look_for_all_frames(client: httpx.Client, own: str) -> None:
    """Unchanged parts have one colour; the look of the response is that of POST /lut."""
    body = animation(own)
    response = client.post("/enhance?model=vivid&format=apng", content=body)
    frames = read_animation(response.content).frames
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame[20:], frames[0][20:])
    lut = client.post("/lut?model=vivid", content=body)
    assert lut.status_code == 200
    assert lut.headers["X-Look"] == response.headers["X-Look"]
    again = client.post(f"/enhance?format=apng&look={lut.headers['X-Look']}", content=body)
    assert again.content == response.content


@pytest.mark.parametrize("query", ["first=true", "format=jpeg", "format=png", "format=tiff"])
@pytest.mark.parametrize("own", FORMATS)
def test_still_images_of_animations(client: httpx.Client, own: str, query: str) -> None:
    """Where a still image is requested it is the first frame, and the response states it."""
    response = client.post(f"/enhance?min_change=100&{query}", content=animation(own))
    assert response.status_code == 200
    assert response.headers["X-Image-Notes"] == "first-frame"
    first = query == "first=true"
    expected = {"apng": "png"}.get(own, own) if first else query.removeprefix("format=")
    assert response.headers["content-type"] == f"image/{expected}"
    with Image.open(BytesIO(response.content)) as image:
        assert getattr(image, "n_frames", 1) == 1
        difference = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(difference - read_animation(animation(own)).frames[0, ..., :3]).mean() < 8


@pytest.mark.parametrize("own", FORMATS)
def test_an_animation_that_needs_no_look(client: httpx.Client, own: str) -> None:
    """It comes back byte for byte."""
    body = animation(own)
    response = client.post("/enhance?min_change=100", content=body)
    assert response.content == body
    assert response.headers["X-Unchanged"] == "true"


def test_negotiation_prefers_formats_that_hold_animations(client: httpx.Client) -> None:
    """Accept chooses among them; a client that accepts none receives the first frame."""
    for accept, expected in (
        ("image/jpeg, image/webp;q=0.5", "image/webp"),
        ("image/jpeg", "image/jpeg"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/apng"),
        ("*/*", "image/apng"),
    ):
        response = client.post("/enhance", content=animation("apng"), headers={"Accept": accept})
        assert response.headers["content-type"] == expected
        assert (response.headers.get("X-Image-Notes") == "first-frame") is (
            expected == "image/jpeg"
        )


@pytest.mark.parametrize("image_format", ["gif", "apng"])
def test_photographs_as_animations(client: httpx.Client, image_format: str) -> None:
    """A still image becomes an animation of one frame."""
    body = saved(scene(), "PNG")
    response = client.post(f"/enhance?format={image_format}", content=body)
    assert response.headers["content-type"] == f"image/{image_format}"
    with Image.open(BytesIO(response.content)) as image:
        assert image.size == (96, 64)
        assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize("query", ["restore=auto", "upscale=2"])
def test_options_for_still_images(client: httpx.Client, query: str) -> None:
    """Animations are neither restored nor enlarged; their first frame is."""
    body = animation("gif")
    document = problem(client.post(f"/enhance?{query}", content=body), 400, "bad-parameter")
    assert "first=true" in str(document["detail"])
    assert client.post(f"/enhance?first=true&{query}", content=body).status_code == 200


def test_limits() -> None:
    """Each rejects with its number, before anything is decoded; the first frame is served."""
    limits = {"MAX_FRAMES": 30, "MAX_ANIMATION_SECONDS": 0.5, "MAX_ANIMATION_PIXELS": 3_000_000}
    settings = {f"IMAGE_{name}": limit for name, limit in limits.items()}
    small = {"ADMISSION_MEMORY_BYTES": 8 << 20, "IMAGE_MAX_PIXELS": 200_000}
    with serving(**settings, **small) as server:
        for name, found, body in (
            ("MAX_FRAMES", "31 frames", tiny_gif(31)),
            ("MAX_ANIMATION_SECONDS", "1 seconds", tiny_gif(5, centiseconds=20)),
            ("MAX_ANIMATION_PIXELS", "3120000 pixels in all frames", tiny_gif(26, 400, 300)),
        ):
            for path in ("/enhance", "/lut"):
                document = problem(server.client.post(path, content=body), 422, "too-many-frames")
                assert document[name.lower()] == limits[name]
                assert f"has {found}; {limits[name]} are accepted" in str(document["detail"])
            assert server.client.post("/enhance?first=true", content=body).status_code == 200
        large = tiny_gif(20, 400, 300)  # the canvas and the result take more than the memory
        problem(server.client.post("/enhance", content=large), 422, "too-much-memory")
        assert server.client.post("/enhance", content=animation("webp")).status_code == 200


def test_the_deadline_ends_the_work() -> None:
    """An animation that is not ready in time is a 504, and the next request is served."""
    with serving(ADMISSION_DEADLINE=1.0) as server:
        client = server.client
        long = tiny_gif(400, 1000, 900) + bytes(400_000)  # fewer bytes may not hold so many pixels
        problem(client.post("/enhance?format=webp", content=long), 504, "deadline-exceeded")
        assert client.post("/enhance", content=saved(scene(), "PNG")).status_code == 200


@pytest.fixture(scope="module")
def decoder(client: httpx.Client) -> Iterator[Page]:
    """Open a page of the browser, whose ImageDecoder reads all formats."""
    with launching() as browser, visiting(browser, f"{client.base_url}/livez") as page:
        yield page


@needs_chromium
@pytest.mark.parametrize("plays", [0, 1, 3])
@pytest.mark.parametrize("image_format", ALL)
def test_browsers_play_the_animations(
    client: httpx.Client, decoder: Page, image_format: str, plays: int
) -> None:
    """Chromium finds the same frames, durations and number of plays in every format."""
    response = client.post(
        f"/enhance?format={image_format}", content=animation("apng", plays=plays)
    )
    media_type = response.headers["content-type"].replace("apng", "png")
    least = {"avif": 1}.get(image_format, 0)
    expected = Timing([max(it, least) for it in DURATIONS], plays)
    assert read_timing(decoder, response.content, media_type) == expected


@needs_chromium
@pytest.mark.parametrize("image_format", ALL)
def test_animations_of_others_keep_their_plays(
    client: httpx.Client, decoder: Page, image_format: str
) -> None:
    """Chromium reads equal durations before and after, also where the file does not state them."""
    body = animation(image_format, plays=5)
    silent = {
        "gif": body.replace(b"NETSCAPE2.0", b"NETSCAPE0.0"),
        "avif": body.replace(b"edts", b"skip"),
    }.get(image_format, body)
    for before in (body, silent):
        response = client.post("/enhance?model=vivid", content=before)
        media_type = response.headers["content-type"].replace("apng", "png")
        found = read_timing(decoder, response.content, media_type)
        assert found is not None
        assert found == read_timing(decoder, before, media_type)


@needs_ffprobe
@pytest.mark.parametrize("image_format", ["gif", "apng"])
def test_ffprobe_counts_the_same_frames(
    client: httpx.Client, image_format: str, tmp_path: Path
) -> None:
    """Another reader than Pillow finds the frames and their size."""
    response = client.post(f"/enhance?format={image_format}", content=animation("webp"))
    path = tmp_path / f"result.{image_format}"
    path.write_bytes(response.content)
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", path]
    stream = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["streams"]
    assert int(stream[0]["nb_read_frames"]) == len(DURATIONS)
    assert (stream[0]["width"], stream[0]["height"]) == (60, 40)
