"""The service conforms to its OpenAPI document, whatever is sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from app.access import Scope, new_key
from tests.helpers.paths import ROOT
from tests.helpers.server import serving

HOOKS = "tests.helpers.generated"


def test_schemathesis(tmp_path: Path) -> None:
    """Generated requests, valid or not, with and without the key, find no violation."""
    secret, key = new_key("tester", frozenset(Scope))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", "--max-examples=15", "--max-time=20", "--seed=1", "--continue-on-failure"),
        *("--checks=all", "--request-timeout=90", "--no-color"),
        *("--header", f"Authorization: Bearer {secret}"),
    ]
    with serving(AUTH_KEYS=f"[{key.model_dump_json(exclude_none=True)}]") as server:
        document = f"http://127.0.0.1:{server.port}/openapi.json"
        run = subprocess.run(
            [*command, document],
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
        assert server.process.poll() is None


def test_a_path_of_several_methods_names_them_all(client: httpx.Client) -> None:
    """Allow names the methods of all routes of a path (found by schemathesis)."""
    assert client.delete("/lut").headers["allow"] == "GET, HEAD, POST"


def test_an_instance_is_a_uri(client: httpx.Client) -> None:
    """The instance of a problem is a URI, whatever the path was (found by schemathesis)."""
    instance = client.get("/lut/%C3%BC %7B").json()["instance"]
    assert instance == "/lut/%C3%BC%20%7B"
