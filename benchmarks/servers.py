"""The service and comparable servers as processes, their CPU time, and the load on them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.helpers.paths import ROOT
from tests.helpers.server import free_port

PATIENCE = 120.0  # seconds until a server has started

_UVICORN = ("-m", "uvicorn", "--workers", "2", "--log-level", "warning", "--port")

COMMANDS: dict[str, Callable[[int], list[str]]] = {
    "clut-enhance": lambda port: ["-m", "app", "serve", "--port", str(port)],
    "LitServe with Pillow": lambda port: ["-m", "benchmarks.peers.litserve_pillow", str(port)],
    "FastAPI with Pillow": lambda port: [
        *_UVICORN,
        str(port),
        "benchmarks.peers.fastapi_pillow:app",
    ],
    "FastAPI with grid_sample": lambda port: [
        *_UVICORN,
        str(port),
        "benchmarks.peers.fastapi_torch:app",
    ],
}


@dataclass(frozen=True)
class RunningServer:
    """A server that has started."""

    process: psutil.Process
    port: int

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def cpu_seconds(self) -> float:
        """The user and system time of all its processes so far."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(it.cpu_times()[:2]) for it in family)

    @property
    def memory(self) -> int:
        """The resident bytes of all its processes."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(it.memory_info().rss for it in family)


@contextmanager
def run_server(
    name: str,
    photo: bytes,
    environment: dict[str, str] | None = None,
    cores: list[int] | None = None,
    tree: Path = ROOT,
) -> Iterator[RunningServer]:
    """Start one of `COMMANDS`, wait until it enhances an image, and stop it in the end.

    Args:
        name: the key of the command.
        photo: a JPEG.
        environment: the environment variables; None is the present environment.
        cores: the cores of the server; None is all.
        tree: the checkout whose code runs.
    """
    port = free_port()
    process = psutil.Popen(
        [*_pinned(cores), sys.executable, *COMMANDS[name](port)],
        env=(os.environ if environment is None else environment) | {"PYTHONPATH": str(tree)},
        cwd=tree,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = RunningServer(process, port)
    try:
        _wait_until_started(server, photo)
        yield server
    finally:
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=30)
        for child in alive:
            child.kill()


def _pinned(cores: list[int] | None) -> list[str]:
    return [] if cores is None else ["taskset", "-c", ",".join(map(str, cores))]


def _wait_until_started(server: RunningServer, photo: bytes) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            headers = {"Content-Type": "image/jpeg"}
            response = httpx.post(
                f"{server.url}/enhance", content=photo, headers=headers, timeout=60
            )
            response.raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"{server.url} has not started")


@dataclass(frozen=True)
class Load:
    """The figures of wrk.

    Attributes:
        requests_per_second: responses with status 2xx.
        p50, p90, p99: latencies in seconds.
        failed: other responses, and broken connections.
        server_cpu: CPU seconds of the server per response.
        generator_share: CPU of the generator, in cores.
    """

    requests_per_second: float
    p50: float
    p90: float
    p99: float
    failed: int
    server_cpu: float
    generator_share: float


def load(
    server: RunningServer,
    path: str,
    *,
    body: bytes | None = None,
    clients: int = 4,
    seconds: float = 10,
    headers: dict[str, str] | None = None,
) -> Load:
    """Load a server with wrk in a closed loop: a client sends a request after each response.

    wrk uses one thread on the same cores.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        script.write_text(_script(Path(folder), body, headers or {}), encoding="utf-8")
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s"]
        cpu_before, begun = server.cpu_seconds, time.monotonic()
        wrk = psutil.Popen([*command, str(script), server.url + path], stdout=subprocess.PIPE)
        output, own_cpu = _wait_for(wrk)
        took, cpu = time.monotonic() - begun, server.cpu_seconds - cpu_before
    fields = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+) (\S+)", output)
    if fields is None:
        raise RuntimeError(f"wrk printed: {output}")
    responses, duration, p50, p90, p99, failed = map(float, fields.groups())
    good = max(responses - failed, 1)
    return Load(
        requests_per_second=good / duration * 1e6,
        p50=p50 / 1e6,
        p90=p90 / 1e6,
        p99=p99 / 1e6,
        failed=int(failed),
        server_cpu=cpu / good,
        generator_share=own_cpu / took,
    )


def _wait_for(wrk: psutil.Popen) -> tuple[str, float]:
    """Return the output of wrk and its CPU seconds."""
    cpu = 0.0
    while wrk.poll() is None:
        try:
            cpu = sum(wrk.cpu_times()[:2])
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    return wrk.stdout.read().decode(), cpu


def _script(folder: Path, body: bytes | None, headers: dict[str, str]) -> str:
    """Return a script for wrk that sends the body and prints one line of figures."""
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    if body is not None:
        (folder / "body").write_bytes(body)
        lines += [
            'wrk.method = "POST"',
            'wrk.headers["Content-Type"] = "image/jpeg"',
            f'local file = io.open("{folder / "body"}", "rb")',
            'wrk.body = file:read("*a")',
            "file:close()",
        ]
    lines.append(
        """
done = function(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("RESULT %d %d %f %f %f %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), failed))
end"""
    )
    return "\n".join(lines)
