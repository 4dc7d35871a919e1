"""The service in a process of its own, on a real socket."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

PATIENCE = 200.0  # seconds until a server is ready, or has stopped, on a slow and busy machine
PROGRAM = (sys.executable, "-m", "app")  # `clut-enhance`

# Importing torch and numba and loading the compiled loops is most of the start of a program.
_IMPORTED = multiprocessing.get_context("forkserver")
_IMPORTED.set_forkserver_preload(
    ["app.cli.serve", "app.cli.enhance", "app.bulk.worker", "tests.helpers.loaded_loops"]
)


class Process(Protocol):
    """The part of `subprocess.Popen` that tests use."""

    @property
    def pid(self) -> int:
        """The process ID."""

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""

    def wait(self, timeout: float) -> int:
        """Wait for the end of the process and return its exit code."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""


@dataclass(frozen=True)
class Server:
    """A running service: its process, and a client of it."""

    process: Process
    client: httpx.Client
    port: int


@contextmanager
def serving(
    log: Path | None = None,
    *,
    wrapper: Sequence[str] = (),
    program: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[Server]:
    """Start the service with CLUT_* settings (without the prefix), and stop it in the end.

    Args:
        log: the file that receives the server's output; None is the tests' own output.
        wrapper: a command that runs the command which follows it.
        program: the command line of `clut-enhance`. Without it and without a wrapper, the server
            is a fork of a process that has loaded everything, and saves that time.
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
    arguments = ["serve", "--port", str(port)]
    process: Process
    if wrapper or program:
        with nullcontext() if log is None else log.open("wb") as output:
            command = [*wrapper, *(program or PROGRAM), *arguments]
            process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    else:
        process = Fork(arguments, variables, log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            _until_ready(process, client)
            yield Server(process, client, port)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


class Fork:
    """A process that runs the program, forked from one that has imported it."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path | None,
        errors: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            arguments: of `clut-enhance`.
            environment: all environment variables.
            output: the file of standard output, and of standard error where `errors` is None; None
                leaves both as they are.
            errors: the file of standard error.
        """
        call = (arguments, environment, Path.cwd(), output, errors)
        self._process = _IMPORTED.Process(target=_run_program, args=call)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for the end of the process and return its exit code.

        Raises:
            TimeoutError: the process still runs.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} seconds")
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        """Send a signal."""
        os.kill(self.pid, sig)

    def kill(self) -> None:
        """End the process, if it runs."""
        self._process.kill()


def _run_program(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    output: Path | None,
    errors: Path | None,
) -> None:
    """Run the program in this process."""
    from app.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in ((1, output), (2, errors or output)):
        if path is not None:
            with path.open("ab") as file:
                os.dup2(file.fileno(), descriptor)
    sys.argv[:] = ["clut-enhance", *arguments]
    main()


def free_port() -> int:
    """Return a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _until_ready(process: Process, client: httpx.Client) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.poll()}")
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.ConnectError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server did not become ready")
