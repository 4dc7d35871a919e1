"""Requests that are rejected by their head: foreign hosts, cross-site requests, long queries."""

from __future__ import annotations

import httpx
import pytest

from tests.helpers.http import problem
from tests.helpers.raw import exchange, status_of
from tests.helpers.server import Server, serving

ORIGIN = "https://gallery.example"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "[::1]:8000", "192.0.2.7"]
)
def test_local_hosts(client: httpx.Client, host: str) -> None:
    """Names of this machine and addresses, which cannot be rebound, are served."""
    assert client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "[::1].evil.example", "[::1]a"],
)
@pytest.mark.parametrize("path", ["/livez", "/enhance/", "/docs"])
def test_foreign_hosts(client: httpx.Client, host: str, path: str) -> None:
    """On loopback, a name that DNS points here (DNS rebinding) is rejected."""
    response = client.get(path, headers={"Host": host})
    assert (response.status_code, response.json()["type"]) == (421, "/problems#misdirected-request")
    assert "CLUT_HTTP_ALLOWED_HOSTS" in response.json()["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_allowed_hosts(otters: bytes) -> None:
    """The setting adds names and patterns; CORS adds the origins whose pages may send."""
    settings = {
        "HTTP_ALLOWED_HOSTS": '["photos.example", "*.svc"]',
        "CORS_ORIGINS": f'["{ORIGIN}"]',
    }
    with serving(**settings) as server:
        client = server.client
        for host, status in {
            "Photos.example:80": 200,
            "clut.ns.svc": 200,
            "a.example": 421,
        }.items():
            assert client.get("/livez", headers={"Host": host}).status_code == status, host
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
        allowed = client.post("/lut?size=2", content=otters, headers=headers)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN


SIMPLE = [
    None,
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
]


@pytest.mark.parametrize("content_type", SIMPLE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ORIGIN},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_cross_site_requests(
    client: httpx.Client, otters: bytes, content_type: str | None, headers: dict[str, str]
) -> None:
    """A page of another site cannot make a browser send images to this server."""
    if content_type:
        headers = headers | {"Content-Type": content_type}
    response = client.post("/enhance", content=otters, headers=headers)
    problem(response, 403, "cross-site-request")


def test_requests_of_own_pages_and_other_clients(client: httpx.Client, otters: bytes) -> None:
    """The page at /docs, and requests that browsers send only with permission, are served."""
    own = f"http://{client.base_url.netloc.decode()}"
    for headers in (
        {"Origin": own},
        {"Origin": own, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://behind.a.proxy.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": ORIGIN, "Content-Type": "image/jpeg"},
        {"Origin": ORIGIN, "Authorization": "Bearer x"},
    ):
        response = client.post("/lut?size=2", content=otters, headers=headers)
        assert response.status_code == 200, headers
    assert client.get("/models", headers={"Origin": ORIGIN}).status_code == 200


def test_long_queries(client: httpx.Client) -> None:
    """A query of 60 KB is rejected with a short document."""
    many = problem(client.post("/enhance?" + "a&" * 30_000), 400, "bad-parameter")
    assert "64" in many["detail"]
    response = client.post("/enhance?" + "&".join(f"{n}{'a' * 1000}=1" for n in range(60)))
    document = problem(response, 400, "bad-parameter")
    assert len(document["parameters"]) == 20
    assert "40 more" in document["detail"]
    for query in ("a" * 60_000, "model=" + "a" * 60_000, "look=" + "a" * 60_000):
        response = client.post(f"/enhance?{query}", content=b"x")
        assert 400 <= response.status_code < 500
        assert len(response.content) < 8000
    response = client.get("/" + "a" * 60_000)
    assert (response.status_code, len(response.content) < 20_000) == (404, True)


def test_trailing_slashes(client: httpx.Client, otters: bytes) -> None:
    """A path with a trailing slash is served like the path without it, without a redirect."""
    for path in ("/enhance/", "/lut/?size=2"):
        assert client.post(path, content=otters).status_code == 200, path
    for path in ("/models/", "/livez/", "/problems/", "/openapi.json/"):
        assert client.get(path).content == client.get(path[:-1]).content, path
    token = client.post("/lut/?size=2", content=otters).headers["x-look"]
    assert client.get(f"/lut/{token}/?size=2").status_code == 200
    assert client.get("/enhance/").headers["allow"] == "POST"
    assert client.get("/nothing/").status_code == 404


def test_missing_host(server: Server) -> None:
    """Programs that send no Host are served: browsers always send it."""
    assert status_of(exchange(server.port, b"GET /livez HTTP/1.0\r\n\r\n")) == 200
