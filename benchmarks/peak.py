"""Print the peak memory of decoding for each pixel, by kind of image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from app.imaging.decode import prepare
from app.imaging.probe import probe
from app.imaging.sandbox import Sandbox
from app.policies import Limits

WIDTH, HEIGHT = 4000, 3000


def main() -> None:
    """Decode each kind at full size and reduced by a pixel, each in a fresh process."""
    print("| image | at full size | reduced | charged |")
    print("| --- | ---: | ---: | ---: |")
    for name, body in images().items():
        charged = probe(body, Limits()).peak_bytes / (WIDTH * HEIGHT)
        full, reduced = (bytes_of_a_pixel(body, side) for side in (None, WIDTH - 1))
        print(f"| {name} | {full:.1f} | {reduced:.1f} | {charged:.0f} |", flush=True)


def bytes_of_a_pixel(body: bytes, max_side: int | None) -> float:
    """Measure the peak resident memory that decoding adds to a process."""
    with Sandbox() as sandbox:
        sandbox.run(len, "")
        (process,) = sandbox.processes
        before = peak_memory(process)
        prepare(probe(body, Limits(), sandbox), 256, False, max_side)
        return (peak_memory(process) - before) / (WIDTH * HEIGHT)


def peak_memory(process: int) -> int:
    """Return the most resident memory that a process has had, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return 1024 * int(peak)


def images() -> dict[str, bytes]:
    """Make 12 megapixels of each kind."""
    gray = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    rgba, rgb = np.dstack([gray] * 4), np.dstack([gray] * 3)
    rgba8, rgb8 = (rgba >> 8).astype(np.uint8), (rgb >> 8).astype(np.uint8)
    associated: dict[str, Any] = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    profile = imagecodecs.cms_profile("adobergb")
    files = {
        "PNG, 16 bits, alpha": imagecodecs.png_encode(rgba, level=1),
        "PNG, 8 bits": imagecodecs.png_encode(rgb8, level=1),
        "TIFF, 16 bits, associated alpha, Adobe RGB": tiff(rgba, iccprofile=profile, **associated),
        "TIFF, 16 bits, CMYK": tiff(rgba, photometric="separated"),
        "TIFF, 16 bits, gray": tiff(gray, photometric="minisblack"),
        "JPEG XL, 16 bits, alpha": imagecodecs.jpegxl_encode(rgba, distance=2, effort=1),
        "AVIF, 8 bits": imagecodecs.avif_encode(rgb8, level=60, speed=10),
        "WebP, alpha": imagecodecs.webp_encode(rgba8, level=60),
        "JPEG, CMYK": imagecodecs.jpeg8_encode(
            rgba8, level=80, colorspace="cmyk", outcolorspace="cmyk"
        ),
    }
    return {name: bytes(body) for name, body in files.items()}


def tiff(samples: NDArray[Any], **options: Any) -> bytes:
    """Encode a deflated TIFF."""
    target = BytesIO()
    tifffile.imwrite(
        target, samples, compression="zlib", compressionargs={"level": 1}, metadata=None, **options
    )
    return target.getvalue()


if __name__ == "__main__":
    main()
