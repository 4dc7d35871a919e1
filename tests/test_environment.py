"""Restricted environments: read-only file systems, few descriptors, clocks that jump."""

from __future__ import annotations

import ast
import socket
import subprocess

import httpx
import pytest

from tests.helpers.paths import ROOT
from tests.helpers.server import serving

DATES = ("datetime", "datetime.datetime", "date", "datetime.date")
WALL_TIME = {  # files with quotas, whose library uses it, and with timestamps of trace spans
    "app/web/auth.py",
    "app/serving/permit.py",
}
OWN_ROOT = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
READ_ONLY = """
mount --make-rprivate / && mount -o remount,bind,ro / && cd / || exit 1
exec env -u HOME -u XDG_CACHE_HOME TMPDIR=/nonexistent PYTHONPATH="$0" "$@"
"""


def can_unshare() -> bool:
    """Return whether this system allows a mount namespace."""
    trial = [*OWN_ROOT, "mount --make-rprivate /"]
    return subprocess.run(trial, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
def test_read_only_file_system() -> None:
    """Requests succeed with a read-only root, no home and no temporary folder."""
    if not can_unshare():
        pytest.skip("this system does not allow mount namespaces")
    wrapper = [*OWN_ROOT, READ_ONLY, str(ROOT)]
    photo = (ROOT / "tests/photos/lake.jpg").read_bytes()
    with serving(wrapper=wrapper) as server:
        response = server.client.post("/enhance?format=png", files={"file": photo})
        assert response.status_code == 200
        assert server.client.post("/lut?size=65", content=photo).status_code == 200
        assert server.client.get(f"/lut/{response.headers['x-look']}").status_code == 200
        assert server.client.get("/docs").status_code == 200


@pytest.mark.slow
def test_few_descriptors() -> None:
    """Without free descriptors, open connections are served; afterwards new ones are, too."""
    wrapper = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    photo = (ROOT / "tests/photos/lake.jpg").read_bytes()
    with serving(wrapper=wrapper, CONNECTION_HEADER_TIMEOUT=60) as server:
        assert server.client.get("/livez").status_code == 200
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        assert server.client.get("/livez").status_code == 200  # on an open connection
        for connection in connections:
            connection.close()
        with httpx.Client(base_url=server.client.base_url, timeout=60) as late:
            assert late.get("/readyz").status_code == 200
            assert late.post("/enhance", content=photo).status_code == 200


def test_no_clock_that_jumps() -> None:
    """Deadlines, waits and durations use monotonic clocks."""
    wall = {"time.time", "time", "time.time_ns", "time_ns"}
    wall |= {f"{name}.{call}" for name in DATES for call in ("now", "utcnow", "today")}
    for file in (ROOT / "app").rglob("*.py"):
        if str(file.relative_to(ROOT)) in WALL_TIME or "training" in file.parts:
            continue
        nodes = ast.walk(ast.parse(file.read_text()))
        called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        assert not wall & called, file
