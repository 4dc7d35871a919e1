"""The kernel, OpenColorIO and Pillow: 12 MP, one thread, a 33³ table that leaves 0..1.

Run `python -m benchmarks.kernel`; it prints Markdown tables of medians. Each round measures all
programs, and ratios are taken within a round, so that other load affects all of them. OpenColorIO
works in place, as the kernel does; Pillow makes a new 8-bit image with trilinear interpolation.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813  (the short name of its own documentation)
from numba import njit
from numpy.typing import DTypeLike, NDArray
from PIL import Image, ImageFilter

from app.luts.apply import prepare
from app.luts.lut3d import Interpolation, Lut3D
from benchmarks.photos import make_mosaic

WIDTH, HEIGHT = 4000, 3000
ROUNDS, QUICK_ROUNDS = 11, 2
STRIPS = 12
OCIO_DEPTHS = {"uint8": ocio.BIT_DEPTH_UINT8, "uint16": ocio.BIT_DEPTH_UINT16}
OCIO_INTERPOLATIONS = {
    "tetrahedral": ocio.INTERP_TETRAHEDRAL,
    "trilinear": ocio.INTERP_LINEAR,
}

Work = Callable[[NDArray[Any]], object]


def make_lut() -> Lut3D:
    """Make a saturated look that leaves 0..1 by about 0.15, as learned tables do."""
    table = Lut3D.identity(33).table
    grey = table.mean(axis=-1, keepdims=True)
    contrast = grey - 0.08 * np.sin(2 * np.pi * grey)
    return Lut3D((contrast + 1.3 * (table - grey)).astype(np.float32))


def prepare_kernel(lut: Lut3D, interpolation: Interpolation, dtype: DTypeLike) -> Work:
    """Return the kernel with a prepared LUT."""
    return prepare(lut, interpolation, dtype).apply


def prepare_opencolorio(lut: Lut3D, interpolation: Interpolation, dtype: DTypeLike) -> Work:
    """Return OpenColorIO's CPU processor with its default optimisation."""
    transform = ocio.Lut3DTransform(lut.size)
    transform.setInterpolation(OCIO_INTERPOLATIONS[interpolation])
    transform.setData(lut.table.transpose(2, 1, 0, 3).ravel())  # blue fastest
    depth = OCIO_DEPTHS[np.dtype(dtype).name]
    processor = ocio.Config.CreateRaw().getProcessor(transform)
    cpu = processor.getOptimizedCPUProcessor(depth, depth, ocio.OPTIMIZATION_DEFAULT)

    def work(pixels: NDArray[Any]) -> None:
        item = pixels.itemsize
        layout = (ocio.CHANNEL_ORDERING_RGB, depth, item, 3 * item, pixels.strides[0])
        cpu.apply(ocio.PackedImageDesc(pixels, WIDTH, HEIGHT, *layout))

    return work


def prepare_pillow(lut: Lut3D) -> Work:
    """Return Pillow's filter Color3DLUT."""
    colours = ImageFilter.Color3DLUT(lut.size, lut.table.ravel())
    return lambda pixels: Image.fromarray(pixels).filter(colours)


def time_rounds(
    works: Mapping[str, Work],
    photo: NDArray[Any],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the milliseconds of each program in each round, after an uncounted first round."""
    turns: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(1 + rounds):
        for name, work in works.items():
            pixels = photo.copy()
            start = clock()
            work(pixels)
            turns[name].append(1000 * (clock() - start))
    return {name: taken[1:] for name, taken in turns.items()}


def median_ratio(slower: list[float], faster: list[float]) -> float:
    """Return the median of the ratios within the rounds."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def prepare_threads(lut: Lut3D, threads: int) -> Work:
    """Return the kernel on strips of one image, which a pool of threads shares."""
    apply = prepare(lut, "tetrahedral", np.uint8).apply
    pool = ThreadPoolExecutor(threads)

    def work(pixels: NDArray[Any]) -> None:
        list(pool.map(apply, np.array_split(pixels, STRIPS)))

    return work


def report_threads(photo: NDArray[np.uint8], rounds: int) -> None:
    """Print the speed of two threads relative to one."""
    lut = make_lut()
    works = {str(threads): prepare_threads(lut, threads) for threads in (1, 2)}
    turns = time_rounds(works, photo, rounds)
    print("\n| threads | ms | relative |")
    print("|---:|---:|---:|")
    for threads, taken in turns.items():
        ratio = median_ratio(turns["1"], taken)
        print(f"| {threads} | {statistics.median(taken):.0f} | {ratio:.2f} |")


def report_traffic(photo: NDArray[np.uint8], rounds: int) -> None:
    """Print the time of a loop that moves the pixels without interpolation."""
    lut = make_lut()
    works = {"kernel": prepare(lut, "tetrahedral", np.uint8).apply, "levels only": levels_only}
    print("\n| one thread | ms | ns per pixel |")
    print("|---|---:|---:|")
    for name, taken in time_rounds(works, photo, rounds).items():
        milliseconds = statistics.median(taken)
        print(f"| {name} | {milliseconds:.0f} | {milliseconds / (WIDTH * HEIGHT) * 1e6:.2f} |")


def levels_only(pixels: NDArray[np.uint8]) -> None:
    """Replace each level by another: three look-ups and three stores per pixel."""
    _levels_only(np.arange(256, dtype=np.uint8)[::-1].copy(), pixels.reshape(-1, 3))


@njit(nogil=True)
def _levels_only(levels: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
    for i in range(pixels.shape[0]):
        pixel = pixels[i]
        for c in range(3):
            pixel[c] = levels[pixel[c]]


def report(photo: NDArray[Any], interpolation: Interpolation, rounds: int) -> None:
    """Print the rows of one depth and one interpolation."""
    lut = make_lut()
    works = {
        "clut-enhance": prepare_kernel(lut, interpolation, photo.dtype),
        "OpenColorIO": prepare_opencolorio(lut, interpolation, photo.dtype),
    }
    if photo.dtype == np.uint8:
        works["Pillow (trilinear)"] = prepare_pillow(lut)
    turns = time_rounds(works, photo, rounds)
    for name, taken in turns.items():
        figures = (
            f"{statistics.median(taken):.0f} | {median_ratio(taken, turns['clut-enhance']):.2f}"
        )
        print(f"| {photo.dtype} | {interpolation} | {name} | {figures} |")


def main(quick: bool) -> None:
    """Print the table."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    photo = make_mosaic(WIDTH, HEIGHT)
    print("| pixels | interpolation | | ms | relative |")
    print("|---|---|---|---:|---:|")
    interpolations: tuple[Interpolation, ...] = ("tetrahedral", "trilinear")
    for pixels in (photo, photo * np.uint16(257)):
        for interpolation in interpolations:
            report(pixels, interpolation, rounds)
    report_threads(photo, rounds)
    report_traffic(photo, rounds)


if __name__ == "__main__":
    main("--quick" in sys.argv)
