"""What browsers are told."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx

from tests.helpers.server import serving

ORIGIN = {"Origin": "https://gallery.example"}


def test_every_answer_makes_browsers_careful(client: httpx.Client, otters: bytes) -> None:
    """Photos, documents, problems: none is sniffed, framed, or allowed to run anything."""
    answers = (
        client.post("/enhance", content=otters),
        client.get("/models"),
        client.get("/no/such/path"),
    )
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_page_runs_its_own_scripts_only(client: httpx.Client) -> None:
    """The policy of /docs names the hash of each script in the page, and no inline wildcard."""
    page = client.get("/docs")
    scripts = dict(
        part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";")
    )["script-src"]
    assert "unsafe" not in scripts
    inline = re.findall(rb"<script>(.*?)</script>", page.content, re.DOTALL)
    assert inline
    for script in inline:
        assert base64.b64encode(hashlib.sha256(script).digest()).decode() in scripts


def test_other_origins_are_not_invited(client: httpx.Client, otters: bytes) -> None:
    """Without the setting no page of another origin may read an answer."""
    answer = client.post("/enhance", content=otters, headers=ORIGIN)
    assert "access-control-allow-origin" not in answer.headers


def test_origins_that_are_let_in(otters: bytes) -> None:
    """They may ask beforehand, and read the look, errors too; others still may not."""
    with serving(CORS_ORIGINS='["https://gallery.example"]') as server:
        client = server.client
        preflight = ORIGIN | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        assert client.options("/enhance", headers=preflight).status_code == 200
        for body in (otters, b"no photo"):
            answer = client.post("/enhance", content=body, headers=ORIGIN)
            assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
            assert "X-Look" in answer.headers["access-control-expose-headers"]
        stranger = client.post("/enhance", content=otters, headers={"Origin": "https://e.example"})
        assert "access-control-allow-origin" not in stranger.headers
