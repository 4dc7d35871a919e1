"""API keys, their scopes and their quotas."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.types import Receive, Send
from starlette.types import Scope as Scope_

from app.access import (
    ApiKey,
    ApiKeyStore,
    AuthPolicy,
    QuotaPolicy,
    Scope,
    check_exposure,
    new_key,
    read_keys,
    write_keys,
)
from app.errors import QuotaExceeded
from app.main import create_app, create_service
from app.settings import Settings
from app.web.auth import RateLimits
from tests.helpers.http import bearer, problem
from tests.helpers.server import PATIENCE, free_port, serving

KEYS = {
    "painter": frozenset({Scope.ENHANCE, Scope.LUT}),
    "grader": frozenset({Scope.LUT}),
    "prometheus": frozenset({Scope.METRICS}),
}


class Keyed:
    """A server that requires keys, the file that it reads them from, and a header for each."""

    def __init__(self, client: httpx.Client, file: Path, secrets: dict[str, str]) -> None:
        self.client = client
        self.file = file
        self.headers = {name: bearer(secret) for name, secret in secrets.items()}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """Start a server with a key for each of `KEYS`."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    made = {name: new_key(name, scopes) for name, scopes in KEYS.items()}
    write_keys(file, [key for _, key in made.values()])
    with serving(AUTH_FILE=file) as server:
        yield Keyed(server.client, file, {name: secret for name, (secret, _) in made.items()})


def test_requests_without_a_key(keyed: Keyed, otters: bytes) -> None:
    """Only probes and documents need no key."""
    client = keyed.client
    for path in ("/livez", "/readyz", "/problems", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200, path
    rejected = (
        client.post("/enhance", content=otters),
        client.post("/lut", content=otters),
        client.get("/lut/x"),
        client.get("/lut?token=x"),
        client.get("/models"),
        client.get("/metrics"),
    )
    for response in rejected:
        problem(response, 401, "unauthorised")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", "Basic cGFpbnRlcjo=", "Bearer \u00fc", "painter"],
)
def test_wrong_credentials(keyed: Keyed, header: str) -> None:
    """Everything that is not a valid key is rejected alike."""
    headers = {"Authorization": header.encode()}
    problem(keyed.client.get("/models", headers=headers), 401, "unauthorised")


def test_a_stored_hash_is_not_a_key(keyed: Keyed) -> None:
    """The content of the file of keys gives no access."""
    for key in read_keys(keyed.file):
        response = keyed.client.get("/models", headers=bearer(key.sha256))
        problem(response, 401, "unauthorised")


def test_scopes(keyed: Keyed, otters: bytes) -> None:
    """A key permits the requests of its scopes; others are rejected with the needed scopes."""
    client, headers = keyed.client, keyed.headers
    assert client.post("/enhance", content=otters, headers=headers["painter"]).is_success
    token = client.post("/lut", content=otters, headers=headers["grader"]).headers["x-look"]
    assert client.get(f"/lut/{token}", headers=headers["grader"]).is_success
    assert client.get("/metrics", headers=headers["prometheus"]).is_success
    assert client.get("/models", headers=headers["prometheus"]).is_success
    rejected = client.post("/enhance", content=otters, headers=headers["grader"])
    assert problem(rejected, 403, "forbidden")["needed"] == ["enhance"]
    problem(client.get("/metrics", headers=headers["painter"]), 403, "forbidden")


def test_responses_to_a_key_are_private(keyed: Keyed, otters: bytes) -> None:
    """A LUT that needed a key may not be kept by shared caches."""
    headers = keyed.headers["grader"]
    token = keyed.client.post("/lut", content=otters, headers=headers).headers["x-look"]
    response = keyed.client.get(f"/lut/{token}", headers=headers)
    assert response.headers["cache-control"].startswith("private")


def test_a_rejection_does_not_wait_for_the_body(keyed: Keyed) -> None:
    """A request without a key is rejected before its body is sent."""
    with socket.create_connection(
        ("127.0.0.1", keyed.client.base_url.port), timeout=60
    ) as connection:
        connection.sendall(
            b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


def test_keys_change_without_a_restart(keyed: Keyed) -> None:
    """A new key is valid at once, a revoked one is not, and a damaged file changes nothing."""
    known = read_keys(keyed.file)
    secret, key = new_key("late", frozenset({Scope.LUT}))

    def status() -> int:
        return keyed.client.get("/models", headers=bearer(secret)).status_code

    assert status() == 401
    write_keys(keyed.file, [*known, key])
    assert status() == 200
    keyed.file.write_text("[{")
    assert status() == 200
    keyed.file.unlink()
    assert status() == 200
    write_keys(keyed.file, known)
    assert status() == 401


@pytest.mark.anyio
async def test_a_pipe_or_a_large_file_in_place_of_the_keys(tmp_path: Path) -> None:
    """What is no regular file, or a huge one, is not read: the previous keys stay valid."""
    file = tmp_path / "keys.json"
    secret, key = new_key("app", frozenset({Scope.LUT}))
    write_keys(file, [key])
    keys = ApiKeyStore(AuthPolicy(file=file))
    file.unlink()
    os.mkfifo(file)
    async with asyncio.timeout(PATIENCE):
        assert await keys.find(secret) == key
    file.unlink()
    with file.open("wb") as large:
        large.truncate(1 << 40)
    assert await keys.find(secret) == key
    write_keys(file, [])
    assert await keys.find(secret) is None


@pytest.mark.anyio
async def test_keys_are_read_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests during a read of the file wait for the new keys; the event loop does not."""
    file = tmp_path / "keys.json"
    (secret, key), (_, other) = (new_key(name, frozenset({Scope.LUT})) for name in ("a", "b"))
    write_keys(file, [key])
    keys = ApiKeyStore(AuthPolicy(file=file))
    reading, go_on = threading.Event(), threading.Event()

    def read_slowly(file: Path) -> list[ApiKey]:
        reading.set()
        assert go_on.wait(PATIENCE)
        return read_keys(file)

    monkeypatch.setattr("app.access.read_keys", read_slowly)
    write_keys(file, [other])
    finding = [asyncio.create_task(keys.find(secret)) for _ in range(3)]
    assert await asyncio.to_thread(reading.wait, PATIENCE)
    go_on.set()
    assert await asyncio.gather(*finding) == [None] * 3


def test_quotas_under_another_clock() -> None:
    """A window ends by the clock that is never set, and a rejected amount is not charged."""
    now = 1000.0
    _, key = new_key("app", frozenset())
    limits = RateLimits(QuotaPolicy(memory_bytes="10/minute"), lambda: now)
    limits.charge(key, "memory", 7)
    with pytest.raises(QuotaExceeded) as rejected:
        limits.charge(key, "memory", 4)
    assert rejected.value.extra["retry"] == 60
    limits.charge(key, "memory", 3)
    limits.charge(key, "requests", 10**9)  # no quota
    now += 59
    assert limits.headers(key)["RateLimit"] == '"memory";r=0;t=1'
    now += 1
    limits.charge(key, "memory", 10)


def test_quotas(tmp_path: Path) -> None:
    """Each key has its own quota; 429 has Retry-After, and headers state the remainder.

    An image that exceeds what is left is rejected before it is decoded, and not charged.
    """
    small, large = (picture(side) for side in (100, 1000))
    secret, key = new_key("app", frozenset({Scope.ENHANCE, Scope.LUT}))
    other_secret, other = new_key("other", frozenset({Scope.ENHANCE}))
    file = tmp_path / "keys.json"
    write_keys(file, [key.model_copy(update={"requests": "5/hour"}), other])
    with serving(AUTH_FILE=file, QUOTA_MEMORY_BYTES="450000/hour") as server:

        def post(photo: bytes, secret: str = secret) -> httpx.Response:
            return server.client.post("/enhance", content=photo, headers=bearer(secret))

        first = post(small)
        assert first.is_success
        assert (
            first.headers["ratelimit-policy"] == '"requests";q=5;w=3600, "memory";q=450000;w=3600'
        )
        assert first.headers["ratelimit"].startswith('"requests";r=4;t=')
        assert '"memory";r=270000;t=' in first.headers["ratelimit"]
        problem(post(large), 429, "quota-exceeded")
        assert post(small).is_success
        rejected = post(small)
        assert "memory" in problem(rejected, 429, "quota-exceeded")["detail"]
        assert 3500 < int(rejected.headers["retry-after"]) <= 3600
        problem(post(b"no photo"), 415, "not-an-image")
        rejected = post(b"no photo")
        assert "requests" in problem(rejected, 429, "quota-exceeded")["detail"]
        assert '"requests";r=0' in rejected.headers["ratelimit"]
        assert post(small, other_secret).is_success


def picture(side: int) -> bytes:
    """Encode a square JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def test_keys_from_the_environment_and_a_port_for_metrics() -> None:
    """CLUT_AUTH_KEYS takes what `keys new` prints; the metrics port needs no key.

    That port has metrics and probes and nothing else, and the other port has no metrics.
    """
    secret, key = new_key("app", frozenset({Scope.LUT}))
    port = free_port()
    keys = f"[{key.model_dump_json(exclude_none=True)}]"
    with serving(AUTH_KEYS=keys, METRICS_PORT=port) as server:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as metrics:
            assert "clut_ready 1.0" in metrics.get("/metrics").text
            assert metrics.get("/readyz").status_code == 200
            assert metrics.get("/models").status_code == 404
            assert metrics.post("/enhance", content=picture(8)).status_code == 404
            assert metrics.get("/livez/").headers["x-content-type-options"] == "nosniff"
        assert server.client.get("/metrics").status_code == 404
        assert server.client.get("/livez").status_code == 200
        assert server.client.get("/models").status_code == 401
        assert server.client.get("/models", headers=bearer(secret)).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("address", [None, ("localhost", None), ("/run/socket", None)])
async def test_keys_are_required_without_a_port(address: tuple[str, None] | None) -> None:
    """A server address without a port, as of a Unix socket, opens nothing."""
    _, key = new_key("app", frozenset({Scope.LUT}))
    settings = Settings(auth=AuthPolicy(keys=[key]))
    app = create_app(settings, create_service(settings))

    async def without_port(scope: Scope_, receive: Receive, send: Send) -> None:
        await app({**scope, "server": address}, receive, send)

    transport = httpx.ASGITransport(app=without_port)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/models", "/metrics"):
            problem(await client.get(path), 401, "unauthorised")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104
def test_exposure_is_explicit(host: str) -> None:
    """Beyond loopback the service needs keys, or permission for anonymous requests."""
    closed, opened = AuthPolicy(), AuthPolicy(allow_anonymous=True)
    with pytest.raises(ValueError, match="CLUT_AUTH_ALLOW_ANONYMOUS"):
        check_exposure(host, ApiKeyStore(closed), closed)
    check_exposure(host, ApiKeyStore(opened), opened)
    _, key = new_key("app", frozenset({Scope.LUT}))
    keyed = AuthPolicy(keys=[key])
    check_exposure(host, ApiKeyStore(keyed), keyed)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    """On loopback the service starts without keys."""
    check_exposure(host, ApiKeyStore(AuthPolicy()), AuthPolicy())


def test_an_empty_file_of_keys(tmp_path: Path) -> None:
    """Keys are still required when the last one is revoked."""
    file = tmp_path / "keys.json"
    write_keys(file, [])
    assert ApiKeyStore(AuthPolicy(file=file)).required


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "Invalid JSON"),
        ("{}", "valid array"),
        ('[{"name": "a"}]', "0.sha256"),
        ('[{"name": "a\\n", "sha256": "", "scopes": []}]', "0.name"),
        ('[{"name": "a", "sha256": "%s", "scopes": ["all"]}]' % ("0" * 64), "0.scopes"),
        (
            '[{"name": "a", "sha256": "%s", "scopes": [], "memory_bytes": "1"}]' % ("0" * 64),
            "0.memory_bytes",
        ),
        (
            '[{"name": "a", "sha256": "%s", "scopes": [], "requests": "1/day;9/day"}]' % ("0" * 64),
            "0.requests",
        ),
    ],
)
def test_damaged_files_of_keys(tmp_path: Path, text: str, error: str) -> None:
    """The error names the file and the place in it."""
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"keys.json.*{error}"):
        ApiKeyStore(AuthPolicy(file=file))
