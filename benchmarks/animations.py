"""Send the animated test images of other projects to the service; compare times with other readers.

    make corpora                             # downloads the files
    python -m benchmarks.animations corpora

Each file that ImageMagick (GIF, WebP) or ffprobe (APNG, AVIF) reads as an animation is sent to
/enhance. The response is 4xx with a problem document, or an animation in which the same reader
finds the durations of the same frames. It needs both programs.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from app.imaging.codecs import ImageFormat, detect_format
from tests.helpers.server import serving

READ = {ImageFormat.GIF, ImageFormat.WEBP, ImageFormat.APNG, ImageFormat.AVIF}


def main(folder: Path) -> int:
    """Print counts by format, and every file whose frames differ; return their number."""
    counts: Counter[str] = Counter()
    differing = 0
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with serving() as server, tempfile.TemporaryDirectory() as name:
        result = Path(name) / "result"
        for path in sorted(it for it in folder.rglob("*") if it.is_file()):
            body = path.read_bytes()
            image_format = detect_format(body)
            if image_format not in READ:
                continue
            before = read_durations(path, image_format)
            if before is None or len(before) < 2:
                continue
            response = server.client.post("/enhance?model=vivid", content=body, timeout=100)
            outcome = str(response.status_code)
            if response.status_code == 200:
                result.write_bytes(response.content)
                after = read_durations(result, image_format)
                if after != before:
                    outcome, differing = "200, frames differ", differing + 1
                    print(f"{path}: {before[:4]} of {len(before)}, {after and after[:4]}")
            counts[f"{image_format}: {outcome}"] += 1
    for key, count in sorted(counts.items()):
        print(f"{key}: {count}")
    return differing


def read_durations(path: Path, image_format: ImageFormat) -> list[str] | None:
    """Return how long each frame is shown, as the reader states it; None if it reads nothing."""
    if image_format in {ImageFormat.GIF, ImageFormat.WEBP}:
        command = ["identify", "-format", "%T ", str(path)]
    else:
        command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries"]
        command += ["packet=duration_time", "-select_streams", "v:0", str(path)]
        if image_format is ImageFormat.APNG:
            command[1:1] = ["-f", "apng"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if found.returncode:
        return None
    if command[0] == "identify":
        return found.stdout.split()
    return [str(it.get("duration_time")) for it in json.loads(found.stdout).get("packets", [])]


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1]))))
