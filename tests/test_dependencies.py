"""The installed packages are the pinned ones, and the server imports no dangerous module."""

from __future__ import annotations

import ast
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

LINE = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    """Read a file of requirements as {name: version}."""
    return {normal(name): version for name, version in LINE.findall((ROOT / file).read_text())}


def normal(name: str) -> str:
    """Return the name of a package as PEP 503 compares it."""
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
    """The installed versions are those of constraints.txt; torch may carry a build tag."""
    pinned = pins("constraints.txt")
    installed = {normal(found.name): found.version.split("+")[0] for found in distributions()}
    differing = {
        name: (version, installed[name])
        for name, version in pinned.items()
        if name in installed and installed[name] != version
    }
    assert not differing


def test_nothing_unpickles() -> None:
    """Only the processes of the sandbox unpickle, and only what the server sends them.

    What they reply is JSON, and checkpoints are read as tensors. `published_files` replaces every
    class of a file by an inert one, which tests/restoration checks.
    """
    for file in list_server_files():
        tree = ast.parse(file.read_text())
        pickles = list_imports(file) & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
        names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        uses = {name for name in names if name.split(".")[0] in pickles}
        assert bool(pickles) == bool(uses), file
        assert uses == PICKLING.get(file.name, set()), file
        # Connections of multiprocessing unpickle what they receive.
        assert "multiprocessing.connection" not in list_imports(file) or "bulk" in file.parts, file
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node), file


PICKLING = {
    "sandbox_messages.py": {"pickle.dump"},
    "sandbox_process.py": {"pickle.loads"},
    "published_files.py": {"pickle.Unpickler"},
}


def test_nothing_fetches() -> None:
    """The service imports no HTTP client, so no request can make it fetch an address."""
    clients = {"httpx", "requests", "urllib.request", "aiohttp", "urllib3", "http.client"}
    for file in list_server_files():
        assert not list_imports(file) & clients, file


def list_server_files() -> list[Path]:
    """List the files of the server: all but the training and the command line."""
    return [
        file
        for file in (ROOT / "app").rglob("*.py")
        if not {"training", "cli"}.intersection(file.parts)
    ]


def list_imports(file: Path) -> set[str | None]:
    """Return the names of the modules that a file imports."""
    return {
        name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
