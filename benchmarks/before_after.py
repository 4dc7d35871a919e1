"""Photographs and, below them, their enhanced versions.

Run `python -m benchmarks.before_after OUT.jpg [http://localhost:8000]` while the service runs.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import httpx
from PIL import Image

FOLDER = Path(__file__).parent.parent / "tests" / "photos"
PHOTOS = ("seeding", "colosseum", "otters", "sunset")
TILE = (400, 225)
GAP = 8


def main(output: Path, service: str = "http://localhost:8000") -> None:
    """Send the photographs and draw the picture."""
    columns, rows = len(PHOTOS), 2
    width = columns * TILE[0] + (columns - 1) * GAP
    sheet = Image.new("RGB", (width, rows * TILE[1] + GAP), "white")
    for column, name in enumerate(PHOTOS):
        photo = (FOLDER / f"{name}.jpg").read_bytes()
        response = httpx.post(f"{service}/enhance", content=photo, timeout=60).raise_for_status()
        for row, body in enumerate((photo, response.content)):
            tile = Image.open(io.BytesIO(body)).resize(TILE, Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * (TILE[0] + GAP), row * (TILE[1] + GAP)))
    sheet.save(output, quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
