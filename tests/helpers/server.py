"""The service in a process of its own, on a real socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

PATIENCE = 90.0  # seconds until a server is ready, or has stopped, on a slow and busy machine


@dataclass(frozen=True)
class Server:
    """A running service: its process, and a client of it."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    port: int


@contextmanager
def serving(
    log: Path | None = None,
    *,
    wrapper: Sequence[str] = (),
    program: Sequence[str] = (sys.executable, "-m", "app"),
    environment: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[Server]:
    """Start the service with CLUT_* settings (without the prefix), and stop it in the end.

    Args:
        log: the file that receives the server's output; None is the tests' own output.
        wrapper: a command that runs the command which follows it.
        program: the command line of `clut-enhance`.
        environment: further environment variables.
        settings: the settings.

    Raises:
        RuntimeError: the server ended before it was ready.
        TimeoutError: the server did not become ready.
    """
    port = free_port()
    variables = {k: v for k, v in os.environ.items() if not k.startswith("CLUT_")}
    variables |= environment or {}
    variables |= {f"CLUT_{name}": str(value) for name, value in settings.items()}
    command = [*wrapper, *program, "serve", "--port", str(port)]
    output = None if log is None else log.open("wb")
    process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            _until_ready(process, client)
            yield Server(process, client, port)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        if output is not None:
            output.close()


def free_port() -> int:
    """Return a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _until_ready(process: subprocess.Popen[bytes], client: httpx.Client) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.ConnectError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server did not become ready")
