"""Reload of the model store: over HTTP and by signal."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import httpx

from app.access import Scope, new_key
from app.settings import STORE
from tests.helpers.http import bearer, problem
from tests.helpers.networks import write_other
from tests.helpers.server import PATIENCE, serving
from tests.helpers.waiting import wait_until

# The program, which hangs when it reads a model while a file exists, as with a lost file server.
HANGING = """
import threading
from pathlib import Path
import app.model_files
from app.cli.main import main
read = app.model_files.read_regular_file
def read_or_hang(path):
    if Path({hang!r}).exists():
        Path({hangs!r}).touch()
        threading.Event().wait()
    return read(path)
app.model_files.read_regular_file = read_or_hang
main()
"""


def served(client: httpx.Client, headers: dict[str, str] | None = None) -> set[str]:
    """Return the names of the served models."""
    return {model["name"] for model in client.get("/models", headers=headers).json()["models"]}


def test_over_http_with_an_admin_key_alone(tmp_path: Path) -> None:
    """A key with the scope admin reloads the store; other keys are rejected."""
    shutil.copytree(STORE / "default", tmp_path / "default")
    admin, admin_key = new_key("admin", frozenset({Scope.ADMIN}))
    user, user_key = new_key("user", frozenset({Scope.ENHANCE, Scope.LUT, Scope.METRICS}))
    keys = ",".join(key.model_dump_json(exclude_none=True) for key in (admin_key, user_key))
    with serving(AUTH_KEYS=f"[{keys}]", MODELS_STORE=tmp_path) as server:
        client = server.client
        write_other(tmp_path)
        problem(client.post("/models/reload"), 401, "unauthorised")
        problem(client.post("/models/reload", headers=bearer(user)), 403, "forbidden")
        assert served(client, bearer(user)) == {"default"}
        response = client.post("/models/reload", headers=bearer(admin))
        assert response.json() == {"models": ["default@2", "other@1"]}
        assert served(client, bearer(user)) == {"default", "other"}


def test_without_keys_reloads_are_rejected(client: httpx.Client) -> None:
    """Without keys, reloads are rejected: an open web page could request them."""
    problem(client.post("/models/reload"), 403, "forbidden")


def test_by_signal(tmp_path: Path, otters: bytes) -> None:
    """SIGHUP reloads the store; a damaged default is logged, and nothing changes."""
    shutil.copytree(STORE / "default", tmp_path / "store" / "default")
    log = tmp_path / "log"
    with serving(log, MODELS_STORE=tmp_path / "store") as server:

        def hang_up_until(text: str) -> None:
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: text in log.read_text(), PATIENCE)

        write_other(tmp_path / "store")
        hang_up_until("read again: default@2, other@1")
        assert served(server.client) == {"default", "other"}
        (tmp_path / "store" / "default" / "2" / "weights.safetensors").write_bytes(b"")
        hang_up_until("the SHA-256 does not match the card")
        assert server.client.post("/enhance", content=otters).is_success
        assert served(server.client) == {"default", "other"}


def test_a_reload_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    """A store that cannot be read to its end does not delay the end."""
    hang, hangs = tmp_path / "hang", tmp_path / "hangs"
    program = (sys.executable, "-c", HANGING.format(hang=str(hang), hangs=str(hangs)))
    with serving(program=program) as server:
        hang.touch()
        server.process.send_signal(signal.SIGHUP)
        wait_until(hangs.exists, PATIENCE)
        server.client.close()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
