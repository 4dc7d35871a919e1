"""Quality and speed of `upscale`, and of the models of another store.

    python -m benchmarks.restoration_upscaling PHOTOS INVENTORY [--set5 FOLDER] [--mulut FOLDER]
        [--lerf FOLDER] [--family STORE] [--count N]

Prints Markdown tables: the PSNR of luma, in dB, on the photographs that training holds out, and
milliseconds for each megapixel of output on one core. `--set5 FOLDER` adds NAME-hr.png and
NAME-lr-xN.png, in studio range, `--mulut FOLDER` the tables of MuLUT x4, and `--lerf FOLDER` those
of LeRF-G for every factor. `--family STORE` measures instead every model of a store: those that
enlarge by 4, and those that remove noise of colours.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from time import process_time
from typing import Any, TypeAlias

import numpy as np
from PIL import Image as PilImage

from app.imaging.codecs import ImageFormat
from app.imaging.raster import Image, Metadata
from app.policies import STORE
from app.restoration.apply import clean, upscale
from app.restoration.cleaning import Cleaner
from app.restoration.engine import Model
from app.restoration.methods import METHODS, import_tables
from app.restoration.store import Restorers, Upscaler, read_restorers
from app.serving.restoration import plan_enlargement
from app.training.data import read_photo
from app.training.restoration.patches import add_noise
from benchmarks.restoration import (
    PERFECT,
    REDUCED,
    Bytes,
    Method,
    clean_auto,
    compress,
    held_out,
    psnr,
    read,
    resize,
    run_serially,
)

Pairs: TypeAlias = dict[str, list[tuple[Bytes, Bytes]]]  # inputs and originals, by kind

SCALES = (1.5, 2, 3, 4)
BORDER = 4  # pixels that Set5 is measured without
SIGMAS = (10, 15, 25)  # of noise


def measure_upscaling(pairs: Pairs, scale: float, methods: dict[str, Method], border: int) -> None:
    """Print the PSNR of enlarging methods, by kind of input."""
    print(f"| x{scale:g} | " + " | ".join(methods) + " |")
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
                rows, columns = np.minimum(found.shape[:2], original.shape[:2])
                pair = found[:rows, :columns], original[:rows, :columns]
                results[name].append(psnr(*pair, border))
        means = (f"{np.mean(results[name]):.2f}" for name in methods)
        print(f"| {kind} | {' | '.join(means)} |", flush=True)
    times = (f"{1000 * seconds[name] / megapixels:.0f}" for name in methods)
    print(f"| ms a megapixel of output | {' | '.join(times)} |")


def upscaling_methods(
    restorers: Restorers, scale: float, published: dict[str, Upscaler] | None = None
) -> dict[str, Method]:
    """Return Lanczos, ours, ours after `restore=auto`, and published models of that scale."""
    plan, cleaned = plan_enlargement(restorers, scale), clean_auto(restorers)

    def ours(pixels: Bytes, _: int | None) -> Bytes:
        image = Image(pixels, None, Metadata(), ImageFormat.PNG)
        return np.asarray(plan.run(image, run_serially).pixels, np.uint8)

    def both(pixels: Bytes, quality: int | None) -> Bytes:
        return ours(cleaned(pixels, quality), quality)

    def lanczos(pixels: Bytes, _: int | None) -> Bytes:
        return resize(pixels, scale, PilImage.Resampling.LANCZOS)

    methods = {"Lanczos": lanczos, "upscale": ours, "restore=auto, upscale": both}
    fitting = {
        name: enlarge(model, scale)
        for name, model in (published or {}).items()
        if model.scale in (scale, None)
    }
    return methods | fitting


def reduce(path: Path, scale: float) -> tuple[Bytes, Bytes]:
    """Return an input and its original, whose sides the scale divides."""
    pixels = resize(read_photo(path), REDUCED, PilImage.Resampling.LANCZOS)
    unit = Fraction(scale).numerator
    height, width = (side // unit * unit for side in pixels.shape[:2])
    original = pixels[:height, :width]
    return resize(original, 1 / scale, PilImage.Resampling.BICUBIC), original


def with_jpegs(pairs: Pairs, scale: float) -> Pairs:
    """Add inputs that are JPEGs of the qualities 90 and 75, where the scale has a model."""
    if scale not in (2, 4):
        return pairs
    return pairs | {
        f"{kind}, JPEG {quality}": [(read(compress(small, quality)), it) for small, it in images]
        for kind, images in pairs.items()
        for quality in (90, 75)
    }


def read_published(folder: Path) -> Upscaler:
    """Read the tables that authors published."""
    imported = import_tables(sorted(folder.glob("*.npy")))
    assert imported is not None
    model = METHODS[imported.method](imported.tables, imported.hparams)
    assert not isinstance(model, Cleaner)
    return model


def enlarge(model: Upscaler, scale: float) -> Method:
    """Return what a model makes of an image."""

    def run(small: Bytes, _: int | None) -> Bytes:
        return upscale(small, model, scale, run_serially).astype(np.uint8)

    return run


def read_set5(folder: Path, scale: int) -> list[tuple[Bytes, Bytes]]:
    """Read the pairs of Set5."""
    pairs = []
    for path in sorted(folder.glob("*-hr.png")):
        small = folder / path.name.replace("-hr", f"-lr-x{scale}")
        pairs.append((read(small.read_bytes()), read(path.read_bytes())))
    return pairs


def measure_enlarging(photos: Sequence[Path], restorers: Restorers) -> None:
    """Print what the models that enlarge by 4 reach on clean inputs."""
    print("| x4, clean | dB | ms a megapixel of output | bytes |\n| --- | ---: | ---: | ---: |")
    pairs = [reduce(path, 4) for path in photos]
    models = {it.card.name: it for it in restorers.all if it.card.scale == 4}
    for name in ("Lanczos", *models):
        if name == "Lanczos":
            method, size = upscaling_methods(read_restorers(STORE), 4)[name], ""
        else:
            model = models[name].model
            assert not isinstance(model, Cleaner)
            method, size = enlarge(model, 4), f"{models[name].card.bytes:,}"
        method(pairs[0][0][:16, :16], None)  # compile
        begin = process_time()
        found = [method(small, None) for small, _ in pairs]
        spent = 1000 * (process_time() - begin) / (sum(it.size for it in found) / 3e6)
        results = [psnr(it, original) for it, (_, original) in zip(found, pairs, strict=True)]
        print(f"| {name} | {np.mean(results):.2f} | {spent:.0f} | {size} |", flush=True)


def measure_denoising(photos: Sequence[Path], restorers: Restorers) -> None:
    """Print what the models that remove noise of colours reach."""
    heads = " | ".join(f"noise {it}, dB" for it in SIGMAS)
    print(f"\n| colours | {heads} | ms a megapixel | bytes |\n| --- |{' ---: |' * 5}")
    originals = [resize(read_photo(path), REDUCED, PilImage.Resampling.LANCZOS) for path in photos]
    rng = np.random.default_rng(0)
    noisy = {sigma: [add_noise(it, sigma, rng) for it in originals] for sigma in SIGMAS}
    chosen = [it for it in restorers.all if it.card.scale == 1]
    models = {it.card.name: it.model for it in chosen if isinstance(it.model, Model)}
    sizes = {it.card.name: f"{it.card.bytes:,}" for it in chosen}
    for name in ("as they are", *models):
        cells, seconds = [], 0.0
        for images in noisy.values():
            found = [it.copy() for it in images]
            begin = process_time()
            for image in found:
                if name in models:
                    clean(image, "rgb", models[name], 1.0, run_serially)
            seconds += process_time() - begin
            pairs = zip(found, originals, strict=True)
            cells.append(f"{np.mean([colour_psnr(*pair) for pair in pairs]):.2f}")
        if name in models:
            pixels = len(SIGMAS) * sum(it.size for it in originals) / 3e6
            cells += [f"{1000 * seconds / pixels:.0f}", sizes[name]]
        else:
            cells += ["", ""]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def colour_psnr(found: Bytes, expected: Bytes) -> float:
    """Compute the PSNR of red, green and blue together."""
    error = float(np.square(found.astype(float) - expected).mean())
    return min(PERFECT, float(10 * np.log10(255**2 / max(error, 1e-9))))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--set5", type=Path)
    parser.add_argument("--mulut", type=Path, help="folder of the tables of MuLUT x4")
    parser.add_argument("--lerf", type=Path, help="folder of the tables of LeRF-G")
    parser.add_argument("--family", type=Path, help="a model store")
    parser.add_argument("--count", type=int, default=54)
    options: Any = parser.parse_args()
    photos = held_out(options.photos, options.inventory)[: options.count]
    print(f"{len(photos)} held-out photographs, reduced to {REDUCED:g}\n")
    if options.family:
        family = read_restorers(options.family)
        measure_enlarging(photos, family)
        measure_denoising(photos, family)
        return
    restorers = read_restorers(STORE)
    folders = {"MuLUT": options.mulut, "LeRF-G": options.lerf}
    published = {name: read_published(it) for name, it in folders.items() if it is not None}
    for scale in SCALES:
        methods = upscaling_methods(restorers, scale, published)
        for method in methods.values():  # compile
            method(np.zeros((8, 8, 3), np.uint8), 30)
        pairs = {"photographs": [reduce(path, scale) for path in photos]}
        measure_upscaling(with_jpegs(pairs, scale), scale, methods, 0)
        if options.set5 and scale == int(scale):
            pairs = {"Set5": read_set5(options.set5, int(scale))}
            measure_upscaling(with_jpegs(pairs, scale), scale, methods, BORDER)
        print()


if __name__ == "__main__":
    main()
