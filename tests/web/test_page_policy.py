"""Where the page is served, and its content security policy."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from app.imaging.codecs import ImageFormat, formats_by_suffix
from app.policies import STORE
from app.web.page import FILES
from tests.helpers.server import serving

ANYWHERE = {"HTTP_HOST": "0.0.0.0", "AUTH_ALLOW_ANONYMOUS": "true"}  # noqa: S104  (the subject)


def test_page_on_loopback(client: httpx.Client) -> None:
    """By default the page is at / of a loopback address."""
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    for path in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
        file = client.get(f"/{path}")
        assert file.content == (FILES / path.removeprefix("static/")).read_bytes()
        assert client.get(f"/{path}", headers={"If-None-Match": file.headers["etag"]}).is_redirect


def test_suffixes_of_downloads() -> None:
    """The page gives results the suffixes of the registry, of all formats that are written."""
    script = (FILES / "page/save.js").read_text()
    (table,) = re.findall(r"^const SUFFIXES = \{(.*?)\}", script, re.MULTILINE)
    others = {f"image/{name}": f".{it}" for name, it in re.findall(r'(\w+): "(\w+)"', table)}
    for member in (it for it in ImageFormat if it.encodable):
        name = member.media_type.removeprefix("image/")
        assert others.pop(member.media_type, f".{name}") == member.suffix
    assert not others
    (own,) = re.findall(r"^const OWN = /(.+)/i;", script, re.MULTILINE)
    assert all(re.search(own, f"photo{suffix}") for suffix in formats_by_suffix())


def test_weights(client: httpx.Client) -> None:
    """The weights of the newest embedded default model are among the files, and are kept."""
    newest = max((STORE / "default").iterdir(), key=lambda folder: int(folder.name))
    file = client.get("/static/default.safetensors")
    assert file.content == (newest / "weights.safetensors").read_bytes()
    unchanged = {"If-None-Match": file.headers["etag"]}
    assert client.get("/static/default.safetensors", headers=unchanged).status_code == 304


@pytest.mark.parametrize("settings", [{"PAGE_ENABLED": "false"}, ANYWHERE], ids=["off", "anywhere"])
def test_without_page(settings: dict[str, str]) -> None:
    """Where it is off, and by default beyond loopback, / redirects to /docs; the files are gone."""
    with serving(**settings) as server:
        response = server.client.get("/")
        assert (response.status_code, response.headers["location"]) == (307, "docs")
        for path in ("/static/clut.js", "/static/index.html", "/static/default.safetensors"):
            assert server.client.get(path).status_code == 404


def test_page_anywhere() -> None:
    """CLUT_PAGE_ENABLED serves it beyond loopback."""
    with serving(**ANYWHERE, PAGE_ENABLED="true") as server:
        assert server.client.get("/").text == (FILES / "index.html").read_text()


def test_policy(client: httpx.Client) -> None:
    """The page runs scripts from files of this server alone, and sends to this server alone."""
    response = client.get("/")
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in response.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in str(policy)
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", response.text)


@pytest.mark.parametrize("path", ["../page.py", "%2e%2e/page.py", "page/../../page.py", "page"])
def test_only_files_of_the_page(client: httpx.Client, path: str) -> None:
    """No other file is served, and no folder is listed."""
    assert client.get(f"/static/{path}").status_code == 404


def test_files_are_short() -> None:
    """No module of the page is above 300 lines."""
    sources: list[Path] = [*FILES.rglob("*.js")]
    assert len(sources) > 10
    assert [file.name for file in sources if len(file.read_text().splitlines()) > 300] == []
