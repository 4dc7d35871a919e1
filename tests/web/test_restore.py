"""POST /enhance?restore=: headers, problems, the embedded models; the command line."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.restoration.store import write_restorer
from tests.helpers.cli import run
from tests.helpers.restoration import CREDIT, denoising, make_store
from tests.helpers.server import Server, serving


def compress(photo: bytes, quality: int) -> bytes:
    """Write a photograph as a JPEG of another quality."""
    file = io.BytesIO()
    Image.open(io.BytesIO(photo)).convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def luma(body: bytes) -> np.ndarray:
    """Decode the luma of an image."""
    return np.asarray(Image.open(io.BytesIO(body)).convert("L")).astype(float)


def test_the_response_states_what_was_done(server: Server, otters: bytes) -> None:
    """A strongly compressed photograph comes back nearer to the original."""
    body = compress(otters, 30)
    url = "/enhance?restore=auto&min_change=100&format=png"
    response = server.client.post(url, content=body).raise_for_status()
    assert response.headers["x-restore"].startswith("jpeg q=30, noise ")
    assert response.headers["x-restore"].endswith("; strength 1")
    assert "restore;dur=" in response.headers["server-timing"]
    original = luma(otters)
    errors = [np.square(luma(it) - original).mean() for it in (body, response.content)]
    assert errors[1] < 0.93 * errors[0]


def test_a_clean_photo_is_left_alone(server: Server, otters: bytes) -> None:
    """The response is the file itself, and states that nothing was done."""
    body = compress(otters, 96)
    response = server.client.post("/enhance?restore=auto&min_change=100", content=body)
    assert response.content == body
    assert response.headers["x-restore"].endswith("; strength 0")


def test_an_installed_denoiser_removes_strong_noise(tmp_path: Path, otters: bytes) -> None:
    """A colour denoiser in the model store replaces the tables where noise is strong."""
    store = make_store(tmp_path)
    write_restorer(store, denoising(8), name="denoise", **CREDIT)
    pixels = np.asarray(Image.open(io.BytesIO(otters)))
    noise = np.random.default_rng(0).normal(0, 20, pixels.shape)
    file = io.BytesIO()
    Image.fromarray((pixels * 0.5 + 60 + noise).clip(0, 255).astype(np.uint8)).save(file, "PNG")
    with serving(MODELS_STORE=store) as server:
        url = "/enhance?restore=auto&min_change=100"
        response = server.client.post(url, content=file.getvalue()).raise_for_status()
        weak = server.client.post(url, content=compress(otters, 30)).raise_for_status()
        listed = server.client.get("/models").json()["restoration"]
    assert response.headers["x-restore"].endswith("; strength 1")
    before, after = (
        np.asarray(Image.open(io.BytesIO(it))).astype(int)
        for it in (file.getvalue(), response.content)
    )
    assert 6 < (after - before).mean() < 9  # of 8
    assert weak.headers["x-restore"].endswith("; strength 0")
    assert [(it["name"], it["method"], it["scale"]) for it in listed] == [("denoise", "dnlut", 1)]


def test_it_is_off_by_default(server: Server, otters: bytes) -> None:
    """Without the option there is no header."""
    assert "x-restore" not in server.client.post("/enhance", content=otters).headers


@pytest.mark.parametrize("value", ["on", "1.5", "nan", ""])
def test_other_values_are_rejected(server: Server, otters: bytes, value: str) -> None:
    """A value that is neither off, auto nor 0 to 1 is a bad parameter, named."""
    response = server.client.post(f"/enhance?restore={value}", content=otters)
    assert response.status_code == 400
    assert response.json()["type"].endswith("bad-parameter")
    assert "off, auto or a number from 0 to 1" in response.json()["detail"]


def test_models_lists_the_embedded_restoration_models(server: Server) -> None:
    """GET /models lists the embedded models, without the photographs of the training."""
    found = {model["name"]: model for model in server.client.get("/models").json()["restoration"]}
    assert {name: model["task"] for name, model in found.items()} == {
        "clean": "clean",
        "clean-chroma": "clean",
        "upscale-2": "upscale",
        "upscale-4": "upscale",
    }
    for model in found.values():
        assert model["licence"] == "Apache-2.0"
        assert "photos" not in model["training"]
    assert sum(model["bytes"] for model in found.values()) < 3_000_000


def test_the_embedded_models_fit_their_budget() -> None:
    """The files of all restoration models together stay below 3 MB."""
    from app.policies import STORE

    files = [it for name in ("clean*", "upscale-*") for it in Path(STORE).glob(f"{name}/*/*.s*")]
    assert 0 < sum(file.stat().st_size for file in files) < 3_000_000


@pytest.mark.parametrize("restore", ["auto", "off", "0.5"])
def test_the_command_line_takes_each_value(tmp_path: Path, otters: bytes, restore: str) -> None:
    """A strength, too, is accepted; other values are an error that names the accepted ones."""
    source, target = tmp_path / "in.jpg", tmp_path / "out.png"
    source.write_bytes(compress(otters, 30))
    result = run("enhance", source, "-o", target, "--restore", restore, "--strength", 0)
    assert result.returncode == 0, result.stderr
    before, after = (luma(path.read_bytes()) for path in (source, target))
    assert (np.abs(after - before).max() > 3) == (restore != "off")
    bad = run("enhance", source, "-o", target, "--restore", "1.5")
    assert bad.returncode == 2
    assert "off, auto or a number from 0 to 1" in re.sub(r"[│\s]+", " ", bad.stderr)
