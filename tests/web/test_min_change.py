"""POST /enhance states how much it changes an image, and can leave images alone."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

ALWAYS_LESS = "min_change=100"


def read(body: bytes) -> np.ndarray:
    """Decode a file to (H, W, 3) uint8."""
    with Image.open(io.BytesIO(body)) as image:
        return np.asarray(image.convert("RGB"))


def test_x_change_is_the_mean_difference_of_the_colours(
    client: httpx.Client, otters: bytes
) -> None:
    """The header agrees within 5 % with CIEDE2000 over all pixels, as scikit-image has it."""
    response = client.post("/enhance?format=png&model=vivid", content=otters)

    before, after = (rgb2lab(read(body)) for body in (otters, response.content))
    expected = deltaE_ciede2000(before, after).mean()
    assert float(response.headers["x-change"]) == pytest.approx(expected, rel=0.05)
    assert "x-unchanged" not in response.headers


def test_no_strength_is_no_change(client: httpx.Client, otters: bytes) -> None:
    """A look of strength 0 changes nothing; by default it is applied nevertheless."""
    response = client.post("/enhance?strength=0", content=otters)

    assert float(response.headers["x-change"]) < 0.05
    assert "x-unchanged" not in response.headers


def test_the_request_s_own_bytes_are_returned(client: httpx.Client, otters: bytes) -> None:
    """Below min_change the response has the bytes of the request, and X-Unchanged."""
    response = client.post(f"/enhance?{ALWAYS_LESS}", content=otters)

    assert response.status_code == 200
    assert response.content == otters
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-unchanged"] == "true"
    assert float(response.headers["x-change"]) > 0
    assert response.headers["x-look"]


def test_from_min_change_on_the_look_is_applied(client: httpx.Client, otters: bytes) -> None:
    """A least change just below that of the header applies the look; one above it does not."""
    change = float(client.post("/enhance?model=vivid", content=otters).headers["x-change"])

    below, above = (
        client.post(f"/enhance?model=vivid&min_change={change * factor}", content=otters)
        for factor in (0.9, 1.1)
    )

    assert "x-unchanged" not in below.headers
    assert below.content != otters
    assert above.content == otters


@pytest.mark.parametrize("other", ["format=png", "max_side=64", "metadata=strip", "metadata=safe"])
def test_what_was_asked_for_is_done_without_a_look(
    client: httpx.Client, otters: bytes, other: str
) -> None:
    """Another format, size or metadata makes another file, whose colours are the image's own."""
    response = client.post(f"/enhance?{ALWAYS_LESS}&{other}", content=otters)
    unchanged = client.post(f"/enhance?strength=0&{other}", content=otters)

    assert response.headers["x-unchanged"] == "true"
    assert response.content != otters
    differences = read(response.content).astype(int) - read(unchanged.content)
    assert np.abs(differences).mean() < 1


def test_a_side_that_is_short_enough_keeps_the_bytes(client: httpx.Client, otters: bytes) -> None:
    """max_side and format that the image meets already need no other file."""
    response = client.post(f"/enhance?{ALWAYS_LESS}&max_side=9000&format=jpeg", content=otters)

    assert response.content == otters


@pytest.mark.parametrize("value", ["-1", "101", "nan", "much"])
def test_impossible_least_changes_are_rejected(
    client: httpx.Client, otters: bytes, value: str
) -> None:
    """A difference is between 0 and 100: anything else is a 400 that names the parameter."""
    response = client.post(f"/enhance?min_change={value}", content=otters)

    assert response.status_code == 400
    assert "min_change" in response.json()["detail"]
