"""Every file of other projects' test images, whole and damaged, through the real server.

    make corpora                          # downloads them
    python -m benchmarks.corpora corpora
    python -m benchmarks.corpora corpora/pillow-13.0.0 --rounds 3    # does memory grow?

Each goes to /enhance and to /lut. It must be answered 2xx with a picture or a LUT that opens, or
4xx with a problem document; anything else is printed, and the program ends with 1.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from PIL import Image

from app.luts.formats.cube import read_cube
from tests.helpers.server import Server, serving

TEXT = (
    "am appxmanifest bat c cc cmake cpp cs filters go h hpp html in java js m4 md mk pfx plist "
    "props py pyi rst sh sln swift toml vcxproj xaml yml"
)
# What an extension promises, and a file may or may not keep; others are counted together.
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".mpo": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".webp": "WebP",
    ".avif": "AVIF",
    ".avifs": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
    ".gif": "GIF",
    ".jxl": "JPEG XL",
    ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".jpf": "JPEG 2000",
}
PATIENCE = 100.0  # seconds for one answer: more than the deadline, and then it hangs
OUTCOMES = ("200", "415", "422", "other 4xx", "wrong")


def files(folder: Path) -> list[Path]:
    """What may be meant as a picture, or as trouble: everything but programs."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.suffix.lower()[1:] not in TEXT.split()
        if "sources" not in path.relative_to(folder).parts[:1]  # the archives themselves
    )


def variants(path: Path, damaged: int) -> Iterator[tuple[str, bytes]]:
    """A file as it is, and damaged in ways that are the same every time."""
    content = path.read_bytes()
    yield "", content
    chance = random.Random(path.name)  # noqa: S311 -- repeatable, not secret
    for number in range(damaged if len(content) > 32 else 0):
        if number % 2 == 0:
            yield "truncated", content[: chance.randrange(16, len(content))]
        else:
            yield "flipped", flipped(content, chance)


def tasks(path: Path, damaged: int) -> list[tuple[Path, str, str, bytes]]:
    """Everything that is sent of a file, and where."""
    return [
        (path, damage, endpoint, content)
        for damage, content in variants(path, damaged)
        for endpoint in ("/enhance", "/lut")
    ]


def flipped(content: bytes, chance: random.Random) -> bytes:
    """The file with some bytes of its first kilobytes changed, where the structure is."""
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 12)):
        changed[chance.randrange(min(len(changed), 4096))] = chance.randrange(256)
    return bytes(changed)


def outcome(client: httpx.Client, path: str, content: bytes) -> tuple[str, str]:
    """How a file is answered, and what is wrong with the answer."""
    try:
        answer = client.post(path, content=content)
    except httpx.HTTPError as error:
        return "wrong", repr(error)
    if answer.status_code == 200:
        complaint = broken(path, answer.content)
        return ("wrong", complaint) if complaint else ("200", "")
    if not 400 <= answer.status_code < 500:
        return "wrong", f"{answer.status_code} {answer.text[:300]}"
    document = answer.headers.get("content-type") == "application/problem+json"
    if not document or not answer.json()["detail"]:
        return "wrong", f"{answer.status_code} is no problem document"
    code = str(answer.status_code)
    return (code if code in OUTCOMES else "other 4xx"), ""


def broken(path: str, body: bytes) -> str:
    """Why an answer does not open; empty if it does."""
    try:
        if path == "/lut":
            read_cube(body.decode())
        else:
            Image.open(io.BytesIO(body)).load()
    except Exception as error:
        return f"the answer does not open: {error!r}"
    return ""


def resident(server: Server) -> float:
    """Megabytes of memory that the server has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Tries everything, and prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--damaged", type=int, default=2, help="damaged variants of each file")
    arguments.add_argument("--rounds", type=int, default=1, help="how often everything is sent")
    given = arguments.parse_args()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    slowest = (0.0, "")
    log = Path("corpora.log")
    with serving(log, UPLOAD_MAX_BYTES=64 * 2**20) as server:
        client = httpx.Client(base_url=server.client.base_url, timeout=PATIENCE)

        def tried(task: tuple[Path, str, str, bytes]) -> tuple[str, str, str, float]:
            path, damage, endpoint, content = task
            begun = time.monotonic()
            result, complaint = outcome(client, endpoint, content)
            name = f"{path} {damage} {endpoint}"
            kind = FORMATS.get(path.suffix.lower(), "anything else")
            return kind, result, f"{name}: {complaint}", time.monotonic() - begun

        memory = [resident(server)]
        for _ in range(given.rounds):
            with ThreadPoolExecutor(2) as callers:
                for path in files(given.folder):
                    for kind, result, name, seconds in callers.map(
                        tried, tasks(path, given.damaged)
                    ):
                        table[kind][result] += 1
                        slowest = max(slowest, (seconds, name))
                        if result == "wrong":
                            wrong.append(name)
            memory.append(resident(server))
        alive = server.process.poll() is None
        print_table(table)
        print(f"\nThe slowest took {slowest[0]:.1f} s: {slowest[1]}")
        print("Memory, before and after each round:", ", ".join(f"{it:.0f} MB" for it in memory))
    for name in wrong:
        print("WRONG", name)
    sys.exit(0 if alive and not wrong else 1)


def print_table(table: dict[str, Counter[str]]) -> None:
    """Counts by format and outcome."""
    print("| format |", " | ".join(OUTCOMES), "|")
    print("| --- |" + " ---: |" * len(OUTCOMES))
    total: Counter[str] = Counter()
    for kind, counts in sorted(table.items(), key=lambda item: -item[1].total()):
        total += counts
        print(f"| {kind} |", " | ".join(str(counts[o]) for o in OUTCOMES), "|")
    print("| **all** |", " | ".join(str(total[o]) for o in OUTCOMES), "|")


if __name__ == "__main__":
    main()
