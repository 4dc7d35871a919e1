"""Measure the memory that animations of 10 and of 200 frames take.

Run `python -m benchmarks.animations_memory`. The frames pan over a blurred photograph: each differs
everywhere from the one before, and their files are small beside them. Each conversion runs in a
process of its own: the two passes that choose the frame for the look, and the one that changes and
encodes all frames. The peak is that of the resident memory above what the process has before,
the file included in both.
"""

from __future__ import annotations

import multiprocessing
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageFilter

from app.imaging.animation import AnimationPlan, Unchanged, convert_animation, find_representative
from app.imaging.codecs import ImageFormat
from app.imaging.metadata import MetadataPolicy
from app.imaging.probe import probe
from app.policies import Limits

PHOTO = Path(__file__).parent.parent / "tests" / "photos" / "otters.jpg"
WIDTH, HEIGHT = 640, 360
FRAMES = (10, 200)
PILLOW = {"gif": "GIF", "apng": "PNG", "webp": "WEBP", "avif": "AVIF"}
CONVERSIONS = [*((it, it) for it in PILLOW), ("webp", "gif"), ("gif", "avif")]
MEBIBYTE = 1 << 20


def main() -> None:
    """Print a table."""
    frame = WIDTH * HEIGHT * 4 / MEBIBYTE
    print(f"{WIDTH}x{HEIGHT}, a frame takes {frame:.1f} MiB; all numbers in MiB\n")
    print("| conversion | frames | all frames | file | result | peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    context = multiprocessing.get_context("spawn")
    for own, other in CONVERSIONS:
        for frames in FRAMES:
            body = make_animation(own, frames, (WIDTH, HEIGHT))
            with context.Pool(1) as pool:
                length, peak = pool.apply(measure, (body, other))
            values = [frames * frame, len(body) / MEBIBYTE, length, peak]
            numbers = " | ".join(f"{it:.1f}" for it in values)
            print(f"| {own} to {other} | {frames} | {numbers} |", flush=True)


def make_animation(image_format: str, frames: int, size: tuple[int, int]) -> bytes:
    """Pan over a photograph."""
    width, height = size
    with Image.open(PHOTO) as opened:
        photo = opened.convert("RGB").resize((width + 2 * max(FRAMES), height))
    photo = photo.filter(ImageFilter.GaussianBlur(8))
    shots = [photo.crop((2 * it, 0, 2 * it + width, height)) for it in range(frames)]
    target = BytesIO()
    shots[0].save(
        target, PILLOW[image_format], save_all=True, append_images=shots[1:], duration=40, loop=0
    )
    return target.getvalue()


def measure(body: bytes, image_format: str) -> tuple[float, float]:
    """Return the size of the result and the peak of the memory in MiB; run it in a new process."""
    convert(make_animation("apng", 5, (160, 90)), image_format)  # imports
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    length = convert(body, image_format)
    return length / MEBIBYTE, resident("VmHWM") - before


def convert(body: bytes, image_format: str) -> int:
    """Do as the service does with an animation; return the size of the result."""
    source = probe(body, Limits())
    opaque = find_representative(source, 256, antialias=True).opaque
    plan = AnimationPlan(ImageFormat[image_format.upper()], None, None, MetadataPolicy.KEEP, opaque)
    return len(convert_animation(source, Unchanged, plan))


def resident(name: str) -> float:
    """Return VmRSS, the resident memory of this process, or VmHWM, its peak, in MiB."""
    line = next(
        it for it in Path("/proc/self/status").read_text().splitlines() if it.startswith(name)
    )
    return float(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
