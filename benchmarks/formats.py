"""Encoding time and file size at 12 MP on one core: `python -m benchmarks.formats [--quick]`.

For WebP, AVIF and PNG every setting that matters, each at our default quality; the settings that
the service uses are marked. Sizes are of a photo's own detail (see `benchmarks.photos`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from itertools import product

import imagecodecs
import simplejpeg
from PIL import Image

from app.imaging.codecs import ImageFormat, avif, webp
from benchmarks.photos import SIZES, make_mosaic

MEGAPIXELS, QUICK_MEGAPIXELS = 12, 1
SLOWEST = {"WebP": 4, "AVIF": 6}  # slower settings take a minute

Encoder = Callable[[], bytes | bytearray]


def make_encoders(megapixels: float) -> dict[str, Encoder]:
    """Return the encoders by name."""
    pixels = make_mosaic(*SIZES[megapixels])
    image = Image.fromarray(pixels)

    def make_saver(kind: str, **options: object) -> Encoder:
        def save() -> bytes:
            target = BytesIO()
            image.save(target, kind, **options)
            return target.getvalue()

        return save

    quality = {member: member.codec.default_quality for member in ImageFormat}
    found: dict[str, Encoder] = {
        "JPEG (service)": lambda: simplejpeg.encode_jpeg(
            pixels, quality[ImageFormat.JPEG], "RGB", "420"
        )
    }
    for method in range(SLOWEST["WebP"] + 1):
        name = f"WebP method {method}{' (service)' if method == webp.METHOD else ''}"
        found[name] = make_saver("WEBP", quality=quality[ImageFormat.WEBP], method=method)
    for speed in range(10, SLOWEST["AVIF"] - 1, -1):
        name = f"AVIF speed {speed}{' (service)' if speed == avif.SPEED else ''}"
        options = {"quality": quality[ImageFormat.AVIF], "speed": speed, "max_threads": 1}
        found[name] = make_saver("AVIF", **options)
    strategies = {"RLE": imagecodecs.PNG.STRATEGY.RLE, "any": imagecodecs.PNG.STRATEGY.DEFAULT}
    filters = {"sub": imagecodecs.PNG.FILTER.SUB, "best": imagecodecs.PNG.FILTER.ALL}
    for level, (strategy, how), (filtering, which) in product(
        (1, 6), strategies.items(), filters.items()
    ):
        mark = " (service)" if (level, strategy, filtering) == (1, "RLE", "sub") else ""
        name = f"PNG level {level}, matches {strategy}, filter {filtering}{mark}"
        found[name] = partial(
            imagecodecs.png_encode, pixels, level=level, strategy=how, filter=which
        )
    return found


def main(quick: bool) -> None:
    """Measure and print."""
    megapixels = QUICK_MEGAPIXELS if quick else MEGAPIXELS
    print(f"| {megapixels} MP | s | MB |")
    print("|---|---:|---:|")
    for name, encode in make_encoders(megapixels).items():
        begun = time.thread_time()
        body = encode()
        print(f"| {name} | {time.thread_time() - begun:.2f} | {len(body) / 1e6:.2f} |", flush=True)


if __name__ == "__main__":
    main("--quick" in sys.argv)
