"""Files that are made to harm the service: `python -m benchmarks.hostile FOLDER`.

Each file meets a server of its own with default settings. As many copies as there are cores are
sent at once to each endpoint that decodes images, so that every worker has one. Meanwhile a
photograph of 1 MP is sent, and both probes are requested without pause. The printed table has, for
each file, the statuses, the time of the slowest response, the peak memory of all processes above
what they use before the file is sent, the slowest probe and the slowest photograph. The command
exits with 1 if a figure exceeds its bar.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from benchmarks.photos import make_jpeg
from tests.helpers.server import PROGRAM, Server, serving

ENDPOINTS = ("/enhance", "/lut")
PROBES = ("/livez", "/readyz")
PATIENCE = 60.0  # seconds; a request without a response by then has the status 0
INTERVAL = 0.02  # seconds between samples of the memory and between probes
MEGABYTE = 10**6
MAX_SECONDS, MAX_MEGABYTES, MAX_PROBE, MAX_PHOTO = 3.0, 400.0, 0.2, 3.0  # the bars


@dataclass(frozen=True)
class Sent:
    """A request: the status of its response, or 0, and the seconds until it was complete."""

    status: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """The figures of one file: statuses by endpoint, seconds and megabytes."""

    name: str
    statuses: list[set[int]]
    seconds: float
    megabytes: float
    probe: float
    photo: Sent

    @property
    def within_bars(self) -> bool:
        """Return whether no figure exceeds its bar, and no request fails."""
        return (
            all(0 < status < 500 for statuses in self.statuses for status in statuses)
            and self.seconds <= MAX_SECONDS
            and self.megabytes <= MAX_MEGABYTES
            and self.probe <= MAX_PROBE
            and self.photo.status == 200
            and self.photo.seconds <= MAX_PHOTO
        )

    def __str__(self) -> str:
        """Return a row of a Markdown table."""
        statuses = " / ".join(",".join(map(str, sorted(one))) for one in self.statuses)
        return (
            f"| {self.name} | {statuses} | {self.seconds:.2f} | {self.megabytes:.0f} "
            f"| {1000 * self.probe:.0f} | {self.photo.status} in {self.photo.seconds:.2f} s "
            f"| {'' if self.within_bars else 'no'} |"
        )


def send(port: int, method: str, path: str, body: bytes = b"") -> Sent:
    """Send one request on its own connection and time it."""
    begun = time.monotonic()
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        response.read()
        status = response.status
    except (OSError, HTTPException):
        status = 0
    finally:
        connection.close()
    return Sent(status, time.monotonic() - begun)


def memory(server: Server) -> float:
    """Return the megabytes of all processes of the server, shared pages divided among them."""
    process = psutil.Process(server.process.pid)
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total / MEGABYTE


@contextmanager
def repeatedly(act: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread within the context, again and again."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(INTERVAL):
            act()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(repeat)
        try:
            yield
        finally:
            stop.set()
            running.result()


def attack(server: Server, path: str, body: bytes, photo: bytes) -> tuple[list[Sent], Sent]:
    """Send the copies of a file to an endpoint and a photograph beside them."""
    copies = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(copies + 1) as clients:
        sent: list[Future[Sent]] = [
            clients.submit(send, server.port, "POST", path, body) for _ in range(copies)
        ]
        beside = clients.submit(send, server.port, "POST", "/enhance", photo)
        return [one.result() for one in sent], beside.result()


def measure(file: Path) -> Row:
    """Start a server, send it a file, and measure."""
    body, photo = file.read_bytes(), make_jpeg(1)
    with serving(Path(os.devnull), program=PROGRAM, LOG_REQUESTS=False) as server:
        for _ in range(2):  # memory that is allocated once
            assert send(server.port, "POST", "/enhance", photo).status == 200
        before = memory(server)
        sizes, probes = [before], list[Sent]()
        statuses, files, photos = list[set[int]](), list[Sent](), list[Sent]()
        with (
            repeatedly(lambda: sizes.append(memory(server))),
            repeatedly(lambda: probes.extend(send(server.port, "GET", path) for path in PROBES)),
        ):
            for path in ENDPOINTS:
                sent, beside = attack(server, path, body, photo)
                statuses.append({one.status for one in sent})
                files += sent
                photos.append(beside)
    return Row(
        file.name,
        statuses,
        max(one.seconds for one in files),
        max(sizes) - before,
        max(one.seconds for one in probes),
        max(photos, key=lambda one: one.seconds),
    )


def main(folder: Path) -> int:
    """Measure every file of a folder; return 1 if a figure exceeds its bar."""
    print(f"| file | {' / '.join(ENDPOINTS)} | s | MB more | probe, ms | photograph | within |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    print(
        f"| bar | below 500 | {MAX_SECONDS} | {MAX_MEGABYTES:.0f} | {1000 * MAX_PROBE:.0f} "
        f"| 200 in {MAX_PHOTO} s | |"
    )
    exceeded = 0
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        row = measure(file)
        print(row, flush=True)
        exceeded += not row.within_bars
    return min(exceeded, 1)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
