"""Quality and speed of `restore` and `upscale`.

    python -m benchmarks.restoration PHOTOS INVENTORY [--set5 FOLDER [--mulut FOLDER]]
        [--jpegqs PROGRAM]

Prints Markdown tables: the PSNR of luma, in dB, on the photographs that training holds out, and
milliseconds for each megapixel of output on one core. `--set5 FOLDER` adds NAME-hr.png and
NAME-lr-xN.png, in studio range, `--mulut FOLDER` the tables of MuLUT.
OpenCV's non-local means and the program `jpegqs` are measured where they are installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.policies import STORE
from app.restoration.apply import clean, upscale
from app.restoration.cleaning import LUMA, Cleaner, certain_damage, measure_bands
from app.restoration.described import import_mulut
from app.restoration.methods import METHODS
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
BORDER = 4  # pixels that Set5 is measured without
STUDIO_RANGE = 219 / 255
PERFECT = 60.0  # dB that equal images count as


class Row(NamedTuple):
    """What a method reached: mean and least gain in dB, and milliseconds for each megapixel."""

    mean: float
    least: float
    milliseconds: float


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
    restorer = restorers.cleaner
    assert restorer is not None

    def run(pixels: Bytes, quality: int | None) -> Bytes:
        damage = certain_damage(quality, measure_bands(pixels))
        model = restorer.model.for_damage(damage)
        found = pixels.copy()
        if model is not None:
            clean(found, model, 1.0, run_serially)
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
    """Print the gains of cleaning methods against the damaged images."""
    print(
        "| damage | before, dB | " + " | ".join(f"{name}, gain (least)" for name in methods) + " |"
    )
    print("| --- | ---: |" + " ---: |" * len(methods))
    seconds = dict.fromkeys(methods, 0.0)
    megapixels = dict.fromkeys(methods, 0.0)
    for case, quality, sigma in CASES:
        rng = np.random.default_rng(0)
        before: list[float] = []
        gains: dict[str, list[float]] = {name: [] for name in methods}
        for path in photos:
            original = resize(read_photo(path), REDUCED, Image.Resampling.LANCZOS)
            source = add_noise(original, sigma, rng) if sigma else original
            damaged = source if quality is None else read(compress(source, quality))
            before.append(psnr(damaged, original))
            for name, method in methods.items():
                # jpegqs compresses by itself: it needs the source of the file.
                given = source if name == "jpegqs" else damaged
                begin = perf_counter()
                found = method(given, quality)
                seconds[name] += perf_counter() - begin
                megapixels[name] += original.shape[0] * original.shape[1] / 1e6
                gains[name].append(psnr(found, original) - before[-1])
        cells = (
            f"{np.mean(gain):+.2f} ({min(gain):+.2f})"
            if name != "jpegqs" or quality is not None
            else ""
            for name, gain in gains.items()
        )
        print(f"| {case} | {np.mean(before):.2f} | {' | '.join(cells)} |", flush=True)
    times = (f"{1000 * seconds[name] / megapixels[name]:.0f}" for name in methods)
    print(f"| ms a megapixel | | {' | '.join(times)} |")


def measure_upscaling(
    pairs: dict[str, list[tuple[Bytes, Bytes]]], scale: int, methods: dict[str, Method], border: int
) -> None:
    """Print the PSNR of enlarging methods, by kind of input."""
    print(f"| x{scale} | " + " | ".join(methods) + " |")
    print("| --- |" + " ---: |" * len(methods))
    seconds = dict.fromkeys(methods, 0.0)
    megapixels = 0.0
    for kind, images in pairs.items():
        quality = int(kind.split()[-1]) if "JPEG" in kind else None
        results: dict[str, list[float]] = {name: [] for name in methods}
        for small, original in images:
            megapixels += original.shape[0] * original.shape[1] / 1e6
            for name, method in methods.items():
                begin = process_time()
                found = method(small, quality)
                seconds[name] += process_time() - begin
                cut = found[: original.shape[0], : original.shape[1]]
                results[name].append(psnr(cut, original, border))
        means = (f"{np.mean(results[name]):.2f}" for name in methods)
        print(f"| {kind} | {' | '.join(means)} |", flush=True)
    times = (f"{1000 * seconds[name] / megapixels:.0f}" for name in methods)
    print(f"| ms a megapixel of output | {' | '.join(times)} |")


def upscaling_methods(restorers: Restorers, scale: int) -> dict[str, Method]:
    """Return ours, ours after `restore=auto`, and Lanczos."""
    restorer = restorers.find(scale)
    assert restorer is not None
    model, cleaned = restorer.model, clean_auto(restorers)

    def ours(pixels: Bytes, _: int | None) -> Bytes:
        return np.asarray(upscale(pixels, model, scale, run_serially), np.uint8)

    def both(pixels: Bytes, quality: int | None) -> Bytes:
        return ours(cleaned(pixels, quality), quality)

    def lanczos(pixels: Bytes, _: int | None) -> Bytes:
        return resize(pixels, scale, Image.Resampling.LANCZOS)

    return {"Lanczos": lanczos, "upscale": ours, "restore=auto, upscale": both}


def reduce(path: Path, scale: int) -> tuple[Bytes, Bytes]:
    """Return an input and its original, whose sides the scale divides."""
    pixels = resize(read_photo(path), REDUCED, Image.Resampling.LANCZOS)
    height, width = (side // scale * scale for side in pixels.shape[:2])
    original = pixels[:height, :width]
    return resize(original, 1 / scale, Image.Resampling.BICUBIC), original


def with_jpegs(pairs: list[tuple[Bytes, Bytes]]) -> dict[str, list[tuple[Bytes, Bytes]]]:
    """Return pairs whose inputs are clean, or JPEGs of the qualities 90 and 75."""
    return {"clean": pairs} | {
        f"JPEG {quality}": [(read(compress(small, quality)), it) for small, it in pairs]
        for quality in (90, 75)
    }


def mulut(folder: Path) -> Method:
    """Read the tables of the authors of MuLUT, which enlarge by 4."""
    imported = import_mulut(sorted(folder.glob("*.npy")))
    assert imported is not None
    model = METHODS["mulut"](imported.tables, imported.hparams)
    assert not isinstance(model, Cleaner)

    def enlarge(small: Bytes, _: int | None) -> Bytes:
        return upscale(small, model, 4, run_serially).astype(np.uint8)

    return enlarge


def read_set5(folder: Path, scale: int) -> list[tuple[Bytes, Bytes]]:
    """Read the pairs of Set5."""
    pairs = []
    for path in sorted(folder.glob("*-hr.png")):
        small = folder / path.name.replace("-hr", f"-lr-x{scale}")
        pairs.append((read(small.read_bytes()), read(path.read_bytes())))
    return pairs


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
    parser.add_argument("--set5", type=Path)
    parser.add_argument("--mulut", type=Path, help="folder of the tables of MuLUT x4")
    parser.add_argument("--jpegqs", default=shutil.which("jpegqs"))
    parser.add_argument("--count", type=int, default=54)
    options: Any = parser.parse_args()
    config = PhotosConfig(folder=options.photos, inventory=options.inventory)
    photos = Photos(config).held_out[: options.count]
    restorers = read_restorers(STORE)
    cleaning = {
        "restore=auto": clean_auto(restorers),
        "non-local means": non_local_means(),
        "jpegqs": quant_smooth(options.jpegqs),
    }
    for method in upscaling_methods(restorers, 4).values():  # compile
        method(np.zeros((8, 8, 3), np.uint8), 30)
    print(f"{len(photos)} held-out photographs, reduced to {REDUCED:g}\n")
    measure_cleaning(photos, {name: it for name, it in cleaning.items() if it is not None})
    for scale in (2, 4):
        print()
        pairs = [reduce(path, scale) for path in photos]
        measure_upscaling(with_jpegs(pairs), scale, upscaling_methods(restorers, scale), 0)
        if options.set5:
            print("\nSet5\n")
            pairs = read_set5(options.set5, scale)
            methods = upscaling_methods(restorers, scale)
            if options.mulut and scale == 4:
                methods["MuLUT"] = mulut(options.mulut)
            measure_upscaling(with_jpegs(pairs), scale, methods, BORDER)
    print()
    list_choices(photos[:20], np.random.default_rng(0))


if __name__ == "__main__":
    main()
