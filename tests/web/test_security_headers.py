"""Headers for browsers: security headers, the policy of /docs, CORS."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx

from tests.helpers.server import serving

ORIGIN = {"Origin": "https://gallery.example"}


def test_every_response_has_security_headers(client: httpx.Client, otters: bytes) -> None:
    """Images, documents and problems have them, with a request ID and a date."""
    responses = (
        client.post("/enhance", content=otters),
        client.get("/models"),
        client.get("/no/such/path"),
        client.get("/livez", headers={"Host": "evil.example"}),
    )
    for response in responses:
        check_headers(response)


def check_headers(response: httpx.Response) -> None:
    """Check the headers that every response has."""
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.headers["x-request-id"]
    assert response.headers["date"]


def test_docs_allow_their_own_scripts_only(client: httpx.Client) -> None:
    """The policy of /docs names the hash of each script in the page, and no wildcard."""
    page = client.get("/docs")
    scripts = dict(
        part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";")
    )["script-src"]
    assert "unsafe" not in scripts
    inline = re.findall(rb"<script>(.*?)</script>", page.content, re.DOTALL)
    assert inline
    for script in inline:
        assert base64.b64encode(hashlib.sha256(script).digest()).decode() in scripts


def test_without_cors(client: httpx.Client, otters: bytes) -> None:
    """Without the setting no page of another origin may read a response."""
    response = client.post("/enhance", content=otters, headers=ORIGIN)
    assert "access-control-allow-origin" not in response.headers


def test_cors(otters: bytes) -> None:
    """Pages of an allowed origin may send preflights, and read looks and errors; others may not."""
    with serving(CORS_ORIGINS='["https://gallery.example"]') as server:
        client = server.client
        preflight = ORIGIN | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        permission = client.options("/enhance", headers=preflight)
        assert permission.status_code == 200
        check_headers(permission)
        for body in (otters, b"no photo"):
            response = client.post("/enhance", content=body, headers=ORIGIN)
            assert response.headers["access-control-allow-origin"] == ORIGIN["Origin"]
            assert "X-Look" in response.headers["access-control-expose-headers"]
        other = client.post("/enhance", content=otters, headers={"Origin": "https://e.example"})
        assert "access-control-allow-origin" not in other.headers
