"""Quality and speed of `restore`.

    python -m benchmarks.restoration PHOTOS INVENTORY [--jpegqs PROGRAM]

Prints Markdown tables: the PSNR of luma and of chroma, in dB, on the photographs that training
holds out, milliseconds for each megapixel on one core, and what `auto` chose for 20 of them.
OpenCV's non-local means and the program `jpegqs` are measured where they are installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.policies import STORE
from app.restoration.apply import clean
from app.restoration.cleaning import CHROMA, LUMA, certain_damage, measure_bands
from app.restoration.store import Restorers, read_restorers
from app.training.data import Photos, PhotosConfig, read_photo
from app.training.restoration.patches import add_noise

Bytes = NDArray[np.uint8]
Method = Callable[[Bytes, int | None], Bytes]
T = TypeVar("T")

REDUCED = 0.7  # of a photograph, which removes its own artefacts
CASES: tuple[tuple[str, int | None, float], ...] = (
    ("JPEG 30", 30, 0),
    ("JPEG 50", 50, 0),
    ("JPEG 70", 70, 0),
    ("JPEG 80", 80, 0),
    ("JPEG 90", 90, 0),
    ("JPEG 95", 95, 0),
    ("noise 5", None, 5),
    ("noise 10", None, 10),
    ("clean", None, 0),
)
STUDIO_RANGE = 219 / 255
PERFECT = 60.0  # dB that equal images count as


class Row(NamedTuple):
    """What a method reached: mean and least gain in dB, and milliseconds for each megapixel."""

    mean: float
    least: float
    milliseconds: float


def held_out(photos: Path, inventory: Path) -> list[Path]:
    """Return the photographs that training holds out."""
    return Photos(PhotosConfig(folder=photos, inventory=inventory)).held_out


def run_serially(function: Callable[[T], None], parts: Sequence[T]) -> None:
    """Run strips one after the other."""
    for part in parts:
        function(part)


def psnr(found: Bytes, expected: Bytes, border: int = 0) -> float:
    """Compute the PSNR of luma; with a border left out, of the studio range, as papers do."""
    difference = (found.astype(float) - expected) @ np.array(LUMA)
    if border:
        difference *= STUDIO_RANGE
    inner = difference[border : difference.shape[0] - border, border : difference.shape[1] - border]
    return min(PERFECT, float(10 * np.log10(255**2 / max(float(np.square(inner).mean()), 1e-9))))


def chroma_psnr(found: Bytes, expected: Bytes) -> float:
    """Compute the PSNR of blue and red chroma, full range."""
    error = np.square((found.astype(float) - expected) @ np.array(CHROMA).T).mean()
    return min(PERFECT, float(10 * np.log10(255**2 / max(float(error), 1e-9))))


def compress(pixels: Bytes, quality: int) -> bytes:
    """Encode pixels as a JPEG with 4:2:0."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def read(body: bytes) -> Bytes:
    """Decode an image."""
    with Image.open(BytesIO(body)) as image:
        return np.array(image.convert("RGB"))


def resize(pixels: Bytes, factor: float, kind: Image.Resampling) -> Bytes:
    """Resize pixels by Pillow."""
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), kind))


def clean_auto(restorers: Restorers) -> Method:
    """Return what `restore=auto` does."""

    def run(pixels: Bytes, quality: int | None) -> Bytes:
        damage = certain_damage(quality, measure_bands(pixels))
        found = pixels.copy()
        for planes, model in restorers.cleaners.for_damage(damage):
            clean(found, planes, model, 1.0, run_serially)
        return found

    return run


def non_local_means() -> Method | None:
    """Return OpenCV's non-local means for colour, as strong as the noise that is measured."""
    try:
        import cv2  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    cv2.setNumThreads(1)

    def run(pixels: Bytes, _: int | None) -> Bytes:
        strength = max(3.0, measure_bands(pixels).noise)
        found: Bytes = cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength, 7, 21)
        return found

    return run


def quant_smooth(program: str | None) -> Method | None:
    """Return jpegqs, which reads and writes JPEG files; None where it is not installed."""
    if program is None:
        return None

    def run(pixels: Bytes, quality: int | None) -> Bytes:
        if quality is None:
            return pixels
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.jpg", Path(folder) / "out.jpg"
            source.write_bytes(compress(pixels, quality))
            subprocess.run([program, "-t", "1", source, target], check=True, capture_output=True)
            return read(target.read_bytes())

    return run


def measure_cleaning(photos: Sequence[Path], methods: dict[str, Method]) -> None:
    """Print the gains of cleaning methods against the damaged images, in luma and in chroma."""
    heads = " | ".join(f"{name}, gain (least)" for name in methods)
    measures = {"luma": psnr, "chroma": chroma_psnr}
    lines: dict[str, list[str]] = {
        plane: [f"| {plane} | before, dB | {heads} |", "| --- | ---: |" + " ---: |" * len(methods)]
        for plane in measures
    }
    seconds = dict.fromkeys(methods, 0.0)
    megapixels = 0.0
    for case, quality, sigma in CASES:
        rng = np.random.default_rng(0)
        before: dict[str, list[float]] = {plane: [] for plane in measures}
        gains: dict[tuple[str, str], list[float]] = defaultdict(list)
        for path in photos:
            original = resize(read_photo(path), REDUCED, Image.Resampling.LANCZOS)
            source = add_noise(original, sigma, rng) if sigma else original
            damaged = source if quality is None else read(compress(source, quality))
            megapixels += original.shape[0] * original.shape[1] / 1e6
            for plane, measure in measures.items():
                before[plane].append(measure(damaged, original))
            for name, method in methods.items():
                # jpegqs compresses by itself: it needs the source of the file.
                given = source if name == "jpegqs" else damaged
                begin = perf_counter()
                found = method(given, quality)
                seconds[name] += perf_counter() - begin
                for plane, measure in measures.items():
                    gains[plane, name].append(measure(found, original) - before[plane][-1])
        for plane in measures:
            cells = (
                f"{np.mean(gains[plane, name]):+.2f} ({min(gains[plane, name]):+.2f})"
                if name != "jpegqs" or quality is not None
                else ""
                for name in methods
            )
            mean = f"{np.mean(before[plane]):.2f}"
            lines[plane].append(f"| {case} | {mean} | {' | '.join(cells)} |")
    times = (f"{1000 * seconds[name] / megapixels:.0f}" for name in methods)
    lines["luma"].append(f"| ms a megapixel | | {' | '.join(times)} |")
    for part in lines.values():
        print("\n".join(part), end="\n\n", flush=True)


def list_choices(photos: Sequence[Path], rng: np.random.Generator) -> None:
    """Print what `restore=auto` chooses for photographs as they are, and damaged at random."""
    print("| photograph | damage | measured | auto |\n| --- | --- | --- | --- |")
    for path in photos:
        pixels = read_photo(path)
        quality = int(rng.integers(25, 99)) if rng.random() < 0.6 else None
        sigma = float(rng.uniform(2, 14)) if rng.random() < 0.4 else 0.0
        damaged = add_noise(pixels, sigma, rng) if sigma else pixels
        if quality is not None:
            damaged = read(compress(damaged, quality))
        bands = measure_bands(damaged)
        treated = certain_damage(quality, bands)
        chosen = [f"JPEG {treated.quality:g}"] if treated.quality else []
        chosen += [f"noise {treated.noise:.1f}"] if treated.noise else []
        made = [f"JPEG {quality}"] if quality is not None else []
        made += [f"noise {sigma:.1f}"] if sigma else []
        cells = (path.stem, ", ".join(made) or "none", f"noise {bands.noise:.1f}")
        print(f"| {' | '.join(cells)} | {', '.join(chosen) or 'left alone'} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--jpegqs", default=shutil.which("jpegqs"))
    parser.add_argument("--count", type=int, default=54)
    options: Any = parser.parse_args()
    photos = held_out(options.photos, options.inventory)[: options.count]
    auto = clean_auto(read_restorers(STORE))
    auto(np.zeros((8, 8, 3), np.uint8), 30)  # compile
    methods = {
        "restore=auto": auto,
        "non-local means": non_local_means(),
        "jpegqs": quant_smooth(options.jpegqs),
    }
    print(f"{len(photos)} held-out photographs, reduced to {REDUCED:g}\n")
    measure_cleaning(photos, {name: it for name, it in methods.items() if it is not None})
    print()
    list_choices(photos[:20], np.random.default_rng(0))


if __name__ == "__main__":
    main()
