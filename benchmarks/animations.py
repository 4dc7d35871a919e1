"""Send the animated test images of other projects to the service; compare them with a browser.

`make animations` downloads the test images of Pillow, gdk-pixbuf, libvips and giflib and runs this
program on them. Each GIF, PNG, WebP and AVIF file that has several frames, according to Chromium's
ImageDecoder, is sent to /enhance and /lut. The response is 4xx with a problem document, or an
animation in which Chromium finds the same number of frames, durations and number of plays. Files
that Chromium rejects must not be an error of the server. It needs Debian's chromium.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
from playwright.sync_api import Page

from tests.helpers.browser import launching, visiting
from tests.helpers.image_decoder import read_timing
from tests.helpers.server import serving

SIGNATURES = {
    "image/gif": (0, (b"GIF87a", b"GIF89a")),
    "image/png": (0, (b"\x89PNG\r\n\x1a\n",)),
    "image/webp": (8, (b"WEBP",)),
    "image/avif": (4, (b"ftypavif", b"ftypavis")),
}
PATIENCE = 100.0  # seconds


def main(folder: Path) -> int:
    """Print counts by project and format, and every wrong response; return their number."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    counts: Counter[tuple[str, str, str]] = Counter()
    wrong = 0
    with ExitStack() as stack:
        client = stack.enter_context(serving(log=Path(os.devnull))).client
        browser = stack.enter_context(launching())
        page = stack.enter_context(visiting(browser, f"{client.base_url}/livez"))
        for path in sorted(it for it in folder.rglob("*") if it.is_file()):
            body = path.read_bytes()
            media_type = find_media_type(body)
            if media_type is None:
                continue
            outcome = examine(client, page, body, media_type)
            if outcome is None:
                continue
            counts[path.relative_to(folder).parts[0], media_type, outcome] += 1
            if not outcome.startswith(("same", "4", "unreadable")):
                wrong += 1
                print(f"{path}: {outcome}")
    print("| test images of | format | response | files |\n| --- | --- | --- | --- |")
    for (project, media_type, outcome), count in sorted(counts.items()):
        print(f"| {project} | {media_type} | {outcome} | {count} |")
    return wrong


def find_media_type(body: bytes) -> str | None:
    """Return the media type of a file that may be an animation."""
    for media_type, (start, signatures) in SIGNATURES.items():
        if body[start:].startswith(signatures):
            return media_type
    return None


def examine(client: httpx.Client, page: Page, body: bytes, media_type: str) -> str | None:
    """Return what both endpoints make of an animation; None for a still image."""
    before = read_timing(page, body, media_type)
    if before is not None and len(before.milliseconds) < 2:
        return None
    enhanced = client.post("/enhance?model=vivid", content=body, timeout=PATIENCE)
    lut = client.post("/lut?model=vivid", content=body, timeout=PATIENCE)
    statuses = f"{enhanced.status_code}, {lut.status_code}"
    if before is None:
        return statuses if enhanced.status_code >= 500 else f"unreadable by Chromium: {statuses}"
    for response in (enhanced, lut):
        if response.status_code != 200:
            return f"{statuses}: {response.json()['detail']}"
    if enhanced.headers["X-Look"] != lut.headers["X-Look"]:
        return "looks differ"
    after = read_timing(page, enhanced.content, media_type)
    return "same frames, durations and plays" if after == before else f"{before}, {after}"


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1]))))
