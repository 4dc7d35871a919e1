"""API keys, their scopes and their quotas."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from app.policies import AuthPolicy, Scope
from app.web.api_keys import ApiKeyStore, check_exposure, new_key, read_keys, write_keys
from tests.helpers.http import bearer, problem
from tests.helpers.server import free_port, serving

KEYS = {
    "painter": frozenset({Scope.ENHANCE, Scope.LUT}),
    "grader": frozenset({Scope.LUT}),
    "prometheus": frozenset({Scope.METRICS}),
}


class Keyed:
    """A server that asks for keys, the file that it reads them from, and a header for each."""

    def __init__(self, client: httpx.Client, file: Path, secrets: dict[str, str]) -> None:
        self.client = client
        self.file = file
        self.headers = {name: bearer(secret) for name, secret in secrets.items()}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A server with a key for each of `KEYS`."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    made = {name: new_key(name, scopes) for name, scopes in KEYS.items()}
    write_keys(file, [key for _, key in made.values()])
    with serving(AUTH_FILE=file) as server:
        yield Keyed(server.client, file, {name: secret for name, (secret, _) in made.items()})


def test_without_a_key_only_probes_and_documents_are_open(keyed: Keyed, otters: bytes) -> None:
    """Strangers learn whether the server is up and how to ask, and nothing else."""
    client = keyed.client
    for path in ("/livez", "/readyz", "/problems", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200, path
    refused = (
        client.post("/enhance", content=otters),
        client.post("/lut", content=otters),
        client.get("/lut/x"),
        client.get("/lut?token=x"),
        client.get("/models"),
        client.get("/metrics"),
    )
    for response in refused:
        problem(response, 401, "unauthorised")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", "Basic cGFpbnRlcjo=", "Bearer \u00fc", "painter"],
)
def test_wrong_credentials(keyed: Keyed, header: str) -> None:
    """Whatever is not a valid key is refused alike."""
    headers = {"Authorization": header.encode()}
    problem(keyed.client.get("/models", headers=headers), 401, "unauthorised")


def test_a_stored_hash_is_no_key(keyed: Keyed) -> None:
    """Whoever reads the file of keys cannot use what stands there."""
    for key in read_keys(keyed.file):
        response = keyed.client.get("/models", headers=bearer(key.sha256))
        problem(response, 401, "unauthorised")


def test_scopes(keyed: Keyed, otters: bytes) -> None:
    """A key opens what its scopes name, and a valid key for something else is told so."""
    client, headers = keyed.client, keyed.headers
    assert client.post("/enhance", content=otters, headers=headers["painter"]).is_success
    token = client.post("/lut", content=otters, headers=headers["grader"]).headers["x-look"]
    assert client.get(f"/lut/{token}", headers=headers["grader"]).is_success
    assert client.get("/metrics", headers=headers["prometheus"]).is_success
    assert client.get("/models", headers=headers["prometheus"]).is_success
    refused = client.post("/enhance", content=otters, headers=headers["grader"])
    assert problem(refused, 403, "forbidden")["needed"] == ["enhance"]
    problem(client.get("/metrics", headers=headers["painter"]), 403, "forbidden")


def test_an_answer_to_a_key_is_not_for_shared_caches(keyed: Keyed, otters: bytes) -> None:
    """A LUT that took a key may be kept by its holder alone."""
    headers = keyed.headers["grader"]
    token = keyed.client.post("/lut", content=otters, headers=headers).headers["x-look"]
    answer = keyed.client.get(f"/lut/{token}", headers=headers)
    assert answer.headers["cache-control"].startswith("private")


def test_a_refusal_does_not_wait_for_the_body(keyed: Keyed) -> None:
    """Who has no key is refused before the photo is sent."""
    with socket.create_connection(("127.0.0.1", keyed.client.base_url.port), timeout=60) as caller:
        caller.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert caller.recv(65536).startswith(b"HTTP/1.1 401")


def test_keys_come_and_go_without_a_restart(keyed: Keyed) -> None:
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


def test_quotas(tmp_path: Path) -> None:
    """Each key has its own requests and memory; 429 says when to come back, headers what is left.

    A photo that does not fit into what is left is refused before it is decoded, and not charged.
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
        refused = post(small)
        assert "memory" in problem(refused, 429, "quota-exceeded")["detail"]
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        problem(post(b"no photo"), 415, "not-an-image")
        refused = post(b"no photo")
        assert "requests" in problem(refused, 429, "quota-exceeded")["detail"]
        assert '"requests";r=0' in refused.headers["ratelimit"]
        assert post(small, other_secret).is_success


def picture(side: int) -> bytes:
    """A square JPEG."""
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
        assert server.client.get("/metrics").status_code == 404
        assert server.client.get("/livez").status_code == 200
        assert server.client.get("/models").status_code == 401
        assert server.client.get("/models", headers=bearer(secret)).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104
def test_other_machines_are_let_in_on_purpose_only(host: str) -> None:
    """Beyond loopback the service needs keys, or to be told that it shall be open."""
    closed, opened = AuthPolicy(), AuthPolicy(allow_anonymous=True)
    with pytest.raises(ValueError, match="CLUT_AUTH_ALLOW_ANONYMOUS"):
        check_exposure(host, ApiKeyStore(closed), closed)
    check_exposure(host, ApiKeyStore(opened), opened)
    _, key = new_key("app", frozenset({Scope.LUT}))
    keyed = AuthPolicy(keys=[key])
    check_exposure(host, ApiKeyStore(keyed), keyed)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    """On one's own machine everything works at once."""
    check_exposure(host, ApiKeyStore(AuthPolicy()), AuthPolicy())


def test_an_empty_file_of_keys_lets_nobody_in(tmp_path: Path) -> None:
    """The last key that is revoked does not open the door."""
    file = tmp_path / "keys.json"
    write_keys(file, [])
    assert ApiKeyStore(AuthPolicy(file=file)).required


@pytest.mark.parametrize(
    ("text", "complaint"),
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
    ],
)
def test_a_file_that_holds_no_keys(tmp_path: Path, text: str, complaint: str) -> None:
    """The complaint names the file and the place in it."""
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"keys.json.*{complaint}"):
        ApiKeyStore(AuthPolicy(file=file))
