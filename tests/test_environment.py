"""Where the service runs: little to write to, few descriptors, clocks that jump."""

from __future__ import annotations

import ast
import socket
import subprocess

import httpx
import pytest

from tests.helpers.paths import ROOT
from tests.helpers.server import serving

OWN_ROOT = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
READ_ONLY = """
mount --make-rprivate / && mount -o remount,bind,ro / && cd / || exit 1
exec env -u HOME -u XDG_CACHE_HOME TMPDIR=/nonexistent PYTHONPATH="$0" "$@"
"""


def can_unshare() -> bool:
    """Whether this system lets us make a root of our own."""
    trial = [*OWN_ROOT, "mount --make-rprivate /"]
    return subprocess.run(trial, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
def test_nothing_to_write_to() -> None:
    """Under a read-only root, without a home and a temporary folder, everything is answered."""
    if not can_unshare():
        pytest.skip("this system lets nobody make a root of their own")
    wrapper = [*OWN_ROOT, READ_ONLY, str(ROOT)]
    photo = (ROOT / "tests/photos/lake.jpg").read_bytes()
    with serving(wrapper=wrapper) as server:
        answer = server.client.post("/enhance?format=png", files={"file": photo})
        assert answer.status_code == 200
        assert server.client.post("/lut?size=65", content=photo).status_code == 200
        assert server.client.get(f"/lut/{answer.headers['x-look']}").status_code == 200
        assert server.client.get("/docs").status_code == 200


@pytest.mark.slow
def test_few_descriptors() -> None:
    """When they are used up, those who are connected are answered, and later everybody is."""
    wrapper = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    photo = (ROOT / "tests/photos/lake.jpg").read_bytes()
    with serving(wrapper=wrapper, CONNECTION_HEADER_TIMEOUT=60) as server:
        assert server.client.get("/livez").status_code == 200
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        assert server.client.get("/livez").status_code == 200  # on the connection of before
        for caller in crowd:
            caller.close()
        with httpx.Client(base_url=server.client.base_url, timeout=60) as late:
            assert late.get("/readyz").status_code == 200
            assert late.post("/enhance", content=photo).status_code == 200


def test_no_clock_that_jumps() -> None:
    """Deadlines, waits and durations are measured on clocks that never go back.

    The quotas alone ask what time it is, in the library that keeps them.
    """
    wall = {"time.time", "time", "datetime.now", "datetime.utcnow", "time.time_ns"}
    for file in (ROOT / "app").rglob("*.py"):
        if file == ROOT / "app/web/auth.py" or "training" in file.parts:
            continue
        nodes = ast.walk(ast.parse(file.read_text()))
        called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        assert not wall & called, file
