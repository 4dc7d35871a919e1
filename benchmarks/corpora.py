"""Send the test images of other projects to the service, unchanged and damaged.

    make corpora                          # downloads the files
    python -m benchmarks.corpora corpora
    python -m benchmarks.corpora corpora/pillow-13.0.0 --rounds 3    # growth of the memory

Each file is sent to /enhance and to /lut. The response is 200 with an image or LUT that opens, or
4xx with a problem document. Every other response is printed, and the command exits with 1.
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
import pillow_jxl  # noqa: F401 -- lets Pillow read JPEG XL
from PIL import Image

from app.luts.formats.cube import read_cube
from tests.helpers.server import PROGRAM, Server, serving

TEXT = (
    "am appxmanifest bat c cc cmake cpp cs filters go h hpp html in java js m4 md mk pfx plist "
    "props py pyi rst sh sln swift toml vcxproj xaml yml"
)
# The format of each suffix; the content may differ. Other suffixes are counted together.
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
PATIENCE = 100.0  # seconds until a response, above the deadline
OUTCOMES = ("200", "415", "422", "other 4xx", "wrong")


def list_files(folder: Path) -> list[Path]:
    """Return every file but source code and archives."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.suffix.lower()[1:] not in TEXT.split()
        if "sources" not in path.relative_to(folder).parts[:1]  # the archives
    )


def make_variants(path: Path, damaged: int) -> Iterator[tuple[str, bytes]]:
    """Yield a file unchanged, then damaged in reproducible ways."""
    content = path.read_bytes()
    yield "", content
    chance = random.Random(path.name)  # noqa: S311 -- repeatable, not secret
    for number in range(damaged if len(content) > 32 else 0):
        if number % 2 == 0:
            yield "truncated", content[: chance.randrange(16, len(content))]
        else:
            yield "flipped", flip_bytes(content, chance)


def list_requests(path: Path, damaged: int) -> list[tuple[Path, str, str, bytes]]:
    """Return all requests of a file: path, damage, endpoint and body."""
    return [
        (path, damage, endpoint, content)
        for damage, content in make_variants(path, damaged)
        for endpoint in ("/enhance", "/lut")
    ]


def flip_bytes(content: bytes, chance: random.Random) -> bytes:
    """Change some bytes of the first kilobytes, which hold the structure."""
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 12)):
        changed[chance.randrange(min(len(changed), 4096))] = chance.randrange(256)
    return bytes(changed)


def send(client: httpx.Client, path: str, content: bytes) -> tuple[str, str]:
    """Send a file; return the kind of its response and, if it is wrong, the reason."""
    try:
        response = client.post(path, content=content)
    except httpx.HTTPError as error:
        return "wrong", repr(error)
    if response.status_code == 200:
        reason = check_body(path, response.content)
        return ("wrong", reason) if reason else ("200", "")
    if not 400 <= response.status_code < 500:
        return "wrong", f"{response.status_code} {response.text[:300]}"
    document = response.headers.get("content-type") == "application/problem+json"
    if not document or not response.json()["detail"]:
        return "wrong", f"{response.status_code} is no problem document"
    code = str(response.status_code)
    return (code if code in OUTCOMES else "other 4xx"), ""


def check_body(path: str, body: bytes) -> str:
    """Return why the body of a response does not open, or an empty string."""
    try:
        if path == "/lut":
            read_cube(body.decode())
        else:
            Image.open(io.BytesIO(body)).load()
    except Exception as error:
        return f"the body does not open: {error!r}"
    return ""


def read_megabytes(server: Server) -> float:
    """Read the resident megabytes of the server."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Send all files, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--damaged", type=int, default=2, help="damaged variants of each file")
    arguments.add_argument(
        "--rounds", type=int, default=1, help="number of times that all files are sent"
    )
    given = arguments.parse_args()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    slowest = (0.0, "")
    log = Path("corpora.log")
    with serving(log, program=PROGRAM, UPLOAD_MAX_BYTES=64 * 2**20) as server:
        client = httpx.Client(base_url=server.client.base_url, timeout=PATIENCE)

        def try_file(task: tuple[Path, str, str, bytes]) -> tuple[str, str, str, float]:
            path, damage, endpoint, content = task
            begun = time.monotonic()
            result, reason = send(client, endpoint, content)
            name = f"{path} {damage} {endpoint}"
            kind = FORMATS.get(path.suffix.lower(), "other files")
            return kind, result, f"{name}: {reason}", time.monotonic() - begun

        memory = [read_megabytes(server)]
        for _ in range(given.rounds):
            with ThreadPoolExecutor(2) as clients:
                for path in list_files(given.folder):
                    for kind, result, name, seconds in clients.map(
                        try_file, list_requests(path, given.damaged)
                    ):
                        table[kind][result] += 1
                        slowest = max(slowest, (seconds, name))
                        if result == "wrong":
                            wrong.append(name)
            memory.append(read_megabytes(server))
        alive = server.process.poll() is None
        print_table(table)
        print(f"\nThe slowest response took {slowest[0]:.1f} s: {slowest[1]}")
        print("Memory, before and after each round:", ", ".join(f"{it:.0f} MB" for it in memory))
    for name in wrong:
        print("WRONG", name)
    sys.exit(0 if alive and not wrong else 1)


def print_table(table: dict[str, Counter[str]]) -> None:
    """Print the counts by format and outcome."""
    print("| format |", " | ".join(OUTCOMES), "|")
    print("| --- |" + " ---: |" * len(OUTCOMES))
    total: Counter[str] = Counter()
    for kind, counts in sorted(table.items(), key=lambda item: -item[1].total()):
        total += counts
        print(f"| {kind} |", " | ".join(str(counts[o]) for o in OUTCOMES), "|")
    print("| **all** |", " | ".join(str(total[o]) for o in OUTCOMES), "|")


if __name__ == "__main__":
    main()
