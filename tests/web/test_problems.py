"""Problem documents: their codes and members."""

from __future__ import annotations

import io

import httpx
import pytest
from PIL import Image

from app.luts.token import LookToken
from tests.helpers.animations import tiny_gif
from tests.helpers.files import exif, scene
from tests.helpers.heic import heic
from tests.helpers.http import enlarged, problem
from tests.helpers.metrics import samples
from tests.helpers.raw import connect, post
from tests.helpers.server import serving
from tests.helpers.waiting import wait_until


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("strenght=1", "strenght"),
        ("strength=2", "strength"),
        ("strength=nan", "strength"),
        ("strength=", "strength"),
        ("format=bmp", "format"),
        ("quality=0", "quality"),
        ("quality=x", "quality"),
        ("max_side=0", "max_side"),
        ("metadata=none", "metadata"),
    ],
)
def test_parameters_are_named(client: httpx.Client, otters: bytes, query: str, named: str) -> None:
    """A value out of range, or a parameter that does not exist, is rejected by its name."""
    document = problem(client.post(f"/enhance?{query}", content=otters), 400, "bad-parameter")
    assert [item["name"] for item in document["parameters"]] == [named]
    assert named in document["detail"]


def test_every_wrong_parameter_is_named(client: httpx.Client, otters: bytes) -> None:
    """All wrong parameters are named, not only the first."""
    response = client.post("/enhance?strength=2&qualty=1", content=otters)
    document = problem(response, 400, "bad-parameter")
    assert {item["name"] for item in document["parameters"]} == {"strength", "qualty"}


@pytest.mark.parametrize(("start", "status"), [("/", 404), ("/lut/", 400)])
def test_a_long_path_is_not_repeated(client: httpx.Client, start: str, status: int) -> None:
    """The instance is the start of the path, so that no request causes a large response."""
    response = client.get(start + "a" * 60_000)
    assert response.status_code == status
    assert response.json()["instance"] == (start + "a" * 60_000)[:200]
    assert len(response.content) < 1000


def test_unknown_models_and_looks(client: httpx.Client, otters: bytes) -> None:
    """404 names the models; the model of a foreign look is not found."""
    document = problem(client.post("/enhance?model=x", content=otters), 404, "unknown-model")
    assert "default" in document["accepted"]
    card = client.get("/models").json()["models"][0]
    foreign = LookToken(bytes(8), LookToken.decode(look(client, otters)).code).encode()
    problem(client.get(f"/lut/{foreign}"), 404, "unknown-look")
    problem(client.post(f"/enhance?look={foreign}", content=otters), 404, "unknown-look")
    short = LookToken(bytes.fromhex(card["fingerprint"]), LookToken.decode(foreign).code[:3])
    problem(client.get(f"/lut/{short.encode()}"), 400, "corrupted-look")


def look(client: httpx.Client, photo: bytes) -> str:
    """Return the token of the look that is predicted for a photo."""
    return client.post("/lut", content=photo).headers["x-look"]


def test_damaged_tokens(client: httpx.Client, otters: bytes) -> None:
    """Malformed, truncated and corrupted tokens are distinguished, in paths and parameters."""
    token = look(client, otters)
    flipped = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    for text, code in (
        ("hello world", "malformed-look"),
        ("A" * 10_000, "malformed-look"),
        (token[:-9], "truncated-look"),
        (flipped, "corrupted-look"),
    ):
        problem(client.get(f"/lut/{text}"), 400, code)
        problem(client.get("/lut", params={"token": text}), 400, code)
        problem(client.post("/enhance", params={"look": text}, content=otters), 400, code)


@pytest.mark.parametrize("path", ["/enhance", "/lut"])
def test_bodies_that_are_not_images(client: httpx.Client, otters: bytes, path: str) -> None:
    """The detected type is named; damaged, endless and empty bodies are distinguished."""
    text = problem(client.post(path, content=b"hello, I am a text\n"), 415, "not-an-image")
    assert "image/jpeg" in text["accepted"]
    assert "text" in text["detail"]
    pdf = problem(client.post(path, content=b"%PDF-1.7\n%\xe2\xe3"), 415, "not-an-image")
    assert "pdf" in pdf["detail"].lower()
    problem(client.post(path, content=otters[:20_000]), 422, "damaged-image")
    problem(client.post(path, content=b""), 400, "bad-body")
    animated = problem(client.post(path, content=tiny_gif(2001)), 422, "too-many-frames")
    assert animated["max_frames"] == 2000


def test_a_file_that_crashes_its_decoder(client: httpx.Client) -> None:
    """It is rejected, and the server goes on: pi_heif 1.4 crashes on a type that is not UTF-8."""
    good = heic([scene()], exif=exif(1))
    deadly = good.replace(b"\0\0Exif\0", b"\0\0E\xeaif\0")
    rejected = problem(client.post("/enhance", content=deadly), 422, "damaged-image")
    assert "crashed" in rejected["detail"]
    assert client.post("/enhance", content=good).status_code == 200


def test_forms_without_an_image(client: httpx.Client, otters: bytes) -> None:
    """A form without the part, with two files, or truncated is a bad body."""
    for form in (
        {"files": {"photo": otters}},
        {"files": {"other": otters, "file": otters}},
        {"data": {"x": "text"}, "files": {"y": b""}},
        {"content": otters, "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"--a\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=a"}},
    ):
        problem(client.post("/enhance", **form), 400, "bad-body")


def test_unknown_paths_and_methods(client: httpx.Client) -> None:
    """Rejections of the framework are problem documents, too."""
    statuses = {"/nothing": 404, "/enhance": 405, "/docs/": 404, "//a.example/": 404}
    for path, status in statuses.items():
        response = client.get(f"http://127.0.0.1:{client.base_url.port}{path}")
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
    assert client.get("/enhance").headers["allow"] == "POST"


def test_parameters_of_endpoints_without_any(client: httpx.Client) -> None:
    """A listing rejects all parameters."""
    problem(client.get("/models?page=2"), 400, "bad-parameter")
    problem(client.get("/lut"), 400, "bad-parameter")


def test_problem_types_are_listed(client: httpx.Client) -> None:
    """Every type of problem document is listed."""
    codes = {item["code"] for item in client.get("/problems").json()}
    assert {"bad-parameter", "not-an-image", "damaged-image", "overloaded"} <= codes


def test_limits(otters: bytes) -> None:
    """Too many bytes, announced or not, are 413; too many pixels are 422 before decoding."""
    with serving(UPLOAD_MAX_BYTES=len(otters) - 1, IMAGE_MAX_PIXELS=10_000) as server:
        client = server.client
        announced = problem(client.post("/enhance", content=otters), 413, "body-too-large")
        assert announced["accepted_bytes"] == len(otters) - 1
        chunks = (otters[i : i + 5000] for i in range(0, len(otters), 5000))
        problem(client.post("/enhance", content=chunks), 413, "body-too-large")
        problem(client.post("/lut", files={"file": otters}), 413, "body-too-large")
        buffer = io.BytesIO()
        Image.new("RGB", (200, 100)).save(buffer, "PNG")
        document = problem(
            client.post("/enhance", content=buffer.getvalue()), 422, "too-many-pixels"
        )
        assert document["max_pixels"] == 10_000


def test_uploads_are_limited_in_bytes_and_time(otters: bytes) -> None:
    """Bodies that together are too large are 503; one that does not arrive in time is 408."""
    with serving(UPLOAD_BUDGET_BYTES=300_000, UPLOAD_TIMEOUT=5) as server:
        held = ("clut_in_flight_bytes", ())
        with connect(server.port) as slow:
            slow.sendall(post("/enhance", bytes(250_000))[:-10_000])
            wait_until(lambda: samples(server.client)[held] > 230_000)
            problem(server.client.post("/enhance", content=otters), 503, "overloaded")
            assert slow.recv(65536).startswith(b"HTTP/1.1 408")
        assert server.client.post("/enhance", content=otters).status_code == 200


def test_large_body_that_stalls_is_rejected_before_the_timeout() -> None:
    """Beyond 256 KiB a body has to arrive at a rate; until then it has the whole timeout."""
    with serving(UPLOAD_TIMEOUT=600, UPLOAD_MIN_RATE=2**20) as server:
        held = ("clut_in_flight_bytes", ())
        with connect(server.port) as small, connect(server.port) as large:
            small.sendall(post("/enhance", bytes(250_000))[:-10_000])
            large.sendall(post("/enhance", bytes(3_000_000))[:-10_000])
            wait_until(lambda: samples(server.client)[held] > 3_200_000)
            assert large.recv(65536).startswith(b"HTTP/1.1 408")
            assert 230_000 < samples(server.client)[held] < 260_000
            small.sendall(bytes(10_000))
            assert small.recv(65536).startswith(b"HTTP/1.1 415")


def test_deadline(otters: bytes) -> None:
    """A request whose response is not ready in time is rejected with 504."""
    with serving(ADMISSION_DEADLINE=0.05) as server:
        response = server.client.post("/enhance?format=avif", content=enlarged(otters, 5000))
        problem(response, 504, "deadline-exceeded")
