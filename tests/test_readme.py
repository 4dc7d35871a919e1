"""The README and the documents: examples run, links lead to files, generated tables are current."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from PIL import Image
from pydantic import BaseModel

from app.luts.formats import LutFormat
from app.luts.formats.cube import read_cube
from app.serving.options import EnhanceOptions, PredictLutOptions
from app.web import routes
from tests.helpers.paths import ROOT
from tests.helpers.readme import PAGES as GENERATED
from tests.helpers.readme import README, render
from tests.helpers.server import Server

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]


DEPTHS = [
    " ".join(f"`{depth}`" for depth in it.codec.depths) + f" for `{it}`"
    for it in LutFormat
    if len(it.codec.depths) > 1
]


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_generated_tables_are_current(page: Path) -> None:
    """Every format and setting is listed as the code declares it: run `make readme`."""
    assert render(page) == page.read_text()


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [("/enhance", EnhanceOptions), ("/lut", PredictLutOptions)],
    ids=["enhance", "lut"],
)
def test_options(endpoint: str, options: type[BaseModel]) -> None:
    """The table of an endpoint has every option, its values and its default as declared."""
    section = README.read_text().split(f"\n### POST {endpoint}:")[1].split("\n### ")[0]
    table = section.split("| query |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) ?\|", table, re.MULTILINE)
    schema = options.model_json_schema()
    assert {name for name, *_ in rows} == set(schema["properties"])
    for name, values, default in rows:
        declared = schema["properties"][name]
        if name != "format":  # its values have a table of their own
            allowed = DEPTHS if name == "depth" else declared_values(declared, schema["$defs"])
            assert [it for it in allowed if it not in values] == [], name
        if (value := declared.get("default")) is not None:
            number = isinstance(value, float | int) and not isinstance(value, bool)
            assert default == (f"{value:g}" if number else f"`{str(value).lower()}`"), name


def declared_values(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """Yield the values that a JSON schema allows, as the README writes them."""
    for choice in schema.get("anyOf", ()):
        yield from declared_values(choice, definitions)
    if "$ref" in schema:
        yield from declared_values(definitions[schema["$ref"].split("/")[-1]], definitions)
    yield from (f"`{value}`" for value in schema.get("enum", ()))
    if schema.get("type") == "boolean":
        yield from ("`true`", "`false`")
    if "minimum" in schema:
        yield f"{schema['minimum']:g} .. {schema['maximum']:g}"


def test_endpoints() -> None:
    """The README describes every endpoint."""
    text = README.read_text()
    for router in (routes.router, routes.image_router, routes.probe_router, routes.metrics_router):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            assert [it for it in route.methods if f"{it} {route.path}" not in text] == []


@pytest.mark.slow
def test_the_python_example(server: Server, photos: Path, tmp_path: Path) -> None:
    """The example of the README writes the enhanced photograph and its LUT."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    shutil.copy(photos / "lake.jpg", tmp_path / "photo.jpg")
    code = code.replace("localhost:8000", f"localhost:{server.port}")
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert "33 default@2" in printed
    with Image.open(tmp_path / "better.jpg") as better:
        assert better.size == (853, 480)
    assert read_cube((tmp_path / "look.cube").read_text()).size == 17


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Every relative link and picture of a page exists, and every heading that a link names."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    missing = []
    for link in (link for link in links if ":" not in link):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert missing == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a Markdown page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
