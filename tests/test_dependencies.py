"""What is installed is what is written down."""

from __future__ import annotations

import ast
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

LINE = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    """A file of requirements as {name: version}."""
    return {normal(name): version for name, version in LINE.findall((ROOT / file).read_text())}


def normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("locked", ["locked/server.txt", "locked/dev.txt"])
def test_hashes_are_of_the_pinned_versions(locked: str) -> None:
    """`make lock` was run after the last change of constraints.txt; every package has a hash."""
    pinned, hashed = pins("constraints.txt"), pins(locked)
    assert hashed
    assert {name: pinned.get(name) for name in hashed} == hashed
    blocks = re.split(r"\n(?=\S)", (ROOT / locked).read_text())
    assert all("--hash=sha256:" in block for block in blocks if LINE.match(block))


def test_the_tests_run_with_the_pinned_versions() -> None:
    """What is installed here is what constraints.txt says; torch may carry a build tag."""
    pinned = pins("constraints.txt")
    installed = {normal(found.name): found.version.split("+")[0] for found in distributions()}
    differing = {
        name: (version, installed[name])
        for name, version in pinned.items()
        if name in installed and installed[name] != version
    }
    assert not differing


def test_nothing_unpickles() -> None:
    """The server knows no pickle, and the importer reads tensors alone."""
    for file in served():
        assert not imported(file) & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}, file
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node), file


def test_nothing_fetches() -> None:
    """The service opens no address that anybody sends: it has no HTTP client at all."""
    clients = {"httpx", "requests", "urllib.request", "aiohttp", "urllib3", "http.client"}
    for file in served():
        assert not imported(file) & clients, file


def served() -> list[Path]:
    """The files that the server is made of: neither the training nor the command line."""
    return [
        file
        for file in (ROOT / "app").rglob("*.py")
        if not {"training", "cli"}.intersection(file.parts)
    ]


def imported(file: Path) -> set[str | None]:
    """The names of the modules that a file imports."""
    return {
        name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
