"""Our kernel against OpenColorIO and Pillow: 12 MP, one thread, a table of 33 that overshoots.

Run `python -m benchmarks.kernel`; it prints a Markdown table of medians. All take turns, and are
compared within a turn, so that a busy moment of the machine hits all alike. OpenColorIO works in
place as we do; Pillow makes a new image, of 8 bits, by trilinear interpolation only.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813  (the short name of its own documentation)
from numba import njit
from numpy.typing import DTypeLike, NDArray
from PIL import Image, ImageFilter

from app.luts.apply import prepare
from app.luts.lut3d import Interpolation, Lut3D
from benchmarks.photos import mosaic

WIDTH, HEIGHT = 4000, 3000
ROUNDS, QUICK_ROUNDS = 11, 2
STRIPS = 12
OCIO_DEPTHS = {"uint8": ocio.BIT_DEPTH_UINT8, "uint16": ocio.BIT_DEPTH_UINT16}
OCIO_INTERPOLATIONS = {
    "tetrahedral": ocio.INTERP_TETRAHEDRAL,
    "trilinear": ocio.INTERP_LINEAR,
}

Work = Callable[[NDArray[Any]], object]


def overshooting_lut() -> Lut3D:
    """A saturated, contrasty look that leaves 0..1 by about 0.15, as learned tables do."""
    table = Lut3D.identity(33).table
    grey = table.mean(axis=-1, keepdims=True)
    contrast = grey - 0.08 * np.sin(2 * np.pi * grey)
    return Lut3D((contrast + 1.3 * (table - grey)).astype(np.float32))


def ours(lut: Lut3D, interpolation: Interpolation, dtype: DTypeLike) -> Work:
    """Our kernel, with the LUT made ready."""
    return prepare(lut, interpolation, dtype).apply


def opencolorio(lut: Lut3D, interpolation: Interpolation, dtype: DTypeLike) -> Work:
    """OpenColorIO's CPU processor, at its default optimisation."""
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


def pillow(lut: Lut3D) -> Work:
    """Pillow's filter Color3DLUT."""
    colours = ImageFilter.Color3DLUT(lut.size, lut.table.ravel())
    return lambda pixels: Image.fromarray(pixels).filter(colours)


def in_turns(works: dict[str, Work], photo: NDArray[Any], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each, turn by turn, after a first turn that does not count."""
    turns: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(1 + rounds):
        for name, work in works.items():
            pixels = photo.copy()
            start = time.perf_counter()
            work(pixels)
            turns[name].append(1000 * (time.perf_counter() - start))
    return {name: taken[1:] for name, taken in turns.items()}


def times(slower: list[float], faster: list[float]) -> float:
    """How many times as long one took as another in the same turn, in the median."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def threaded(lut: Lut3D, threads: int) -> Work:
    """Our kernel on strips of one photo, as the service shares them among its workers."""
    apply = prepare(lut, "tetrahedral", np.uint8).apply
    pool = ThreadPoolExecutor(threads)

    def work(pixels: NDArray[Any]) -> None:
        list(pool.map(apply, np.array_split(pixels, STRIPS)))

    return work


def report_threads(photo: NDArray[np.uint8], rounds: int) -> None:
    """Print how many times faster two threads are than one."""
    lut = overshooting_lut()
    works = {str(threads): threaded(lut, threads) for threads in (1, 2)}
    turns = in_turns(works, photo, rounds)
    print("\n| threads | ms | times one thread |")
    print("|---:|---:|---:|")
    for threads, taken in turns.items():
        print(f"| {threads} | {statistics.median(taken):.0f} | {times(turns['1'], taken):.2f} |")


def report_traffic(photo: NDArray[np.uint8], rounds: int) -> None:
    """Print what it costs to move the pixels alone, by the same kind of loop."""
    lut = overshooting_lut()
    works = {"kernel": prepare(lut, "tetrahedral", np.uint8).apply, "levels only": levels_only}
    print("\n| one thread | ms | ns a pixel |")
    print("|---|---:|---:|")
    for name, taken in in_turns(works, photo, rounds).items():
        milliseconds = statistics.median(taken)
        print(f"| {name} | {milliseconds:.0f} | {milliseconds / (WIDTH * HEIGHT) * 1e6:.2f} |")


def levels_only(pixels: NDArray[np.uint8]) -> None:
    """Three look-ups a pixel and three stores: a kernel without interpolation."""
    _levels_only(np.arange(256, dtype=np.uint8)[::-1].copy(), pixels.reshape(-1, 3))


@njit(nogil=True)
def _levels_only(levels: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
    for i in range(pixels.shape[0]):
        pixel = pixels[i]
        for c in range(3):
            pixel[c] = levels[pixel[c]]


def report(photo: NDArray[Any], interpolation: Interpolation, rounds: int) -> None:
    """Print the rows of one depth and one interpolation."""
    lut = overshooting_lut()
    works = {
        "ours": ours(lut, interpolation, photo.dtype),
        "OpenColorIO": opencolorio(lut, interpolation, photo.dtype),
    }
    if photo.dtype == np.uint8:
        works["Pillow (trilinear)"] = pillow(lut)
    turns = in_turns(works, photo, rounds)
    for name, taken in turns.items():
        figures = f"{statistics.median(taken):.0f} | {times(taken, turns['ours']):.2f}"
        print(f"| {photo.dtype} | {interpolation} | {name} | {figures} |")


def main(quick: bool) -> None:
    """Print the table."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    photo = mosaic(WIDTH, HEIGHT)
    print("| pixels | interpolation | | ms | times ours |")
    print("|---|---|---|---:|---:|")
    interpolations: tuple[Interpolation, ...] = ("tetrahedral", "trilinear")
    for pixels in (photo, photo * np.uint16(257)):
        for interpolation in interpolations:
            report(pixels, interpolation, rounds)
    report_threads(photo, rounds)
    report_traffic(photo, rounds)


if __name__ == "__main__":
    main("--quick" in sys.argv)
