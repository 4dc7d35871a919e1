"""The engine computes the definition, in strips as in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BadModel
from app.restoration.apply import upscale
from app.restoration.engine import Model, Stage, build
from app.restoration.layers import PATTERNS, ROTATIONS, Description, Layer, Lookup, Tap
from app.restoration.lerf import Resampler
from tests.restoration.oracles import interpolate


def random_table(values: int, taps: int = 4, step: int = 16, seed: int = 0) -> NDArray[np.int8]:
    """Return a table without any order."""
    rows = (256 // step + 1) ** taps
    return np.random.default_rng(seed).integers(-127, 128, (rows, values)).astype(np.int8)


def make_stage(
    tables: dict[str, NDArray[np.int8]],
    lookups: Sequence[Lookup] | None = None,
    denominator: float = 1,
    **options: Any,
) -> Stage:
    """Return a stage of one layer; without lookups, the tables are named by their patterns."""
    chosen = lookups or [Lookup(name, PATTERNS[name]) for name in tables]
    return Stage(Layer("one", tuple(chosen), denominator, **options), tables)


def random_maps(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return maps (C, H, W) of all levels."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def run_serially(function, parts) -> None:
    """Run strips one after the other."""
    for part in parts:
        function(part)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("turns", ROTATIONS)
@pytest.mark.parametrize("step", [16, 32, 64])
def test_a_stage_interpolates_on_simplices(name: str, turns: int, step: int) -> None:
    """Each pixel is the interpolated entry of its taps, read in a rotated image."""
    taps = PATTERNS[name]
    table = random_table(1, len(taps), step)
    stage = make_stage({"t": table}, [Lookup("t", taps, (turns,))], bias=128)
    maps = random_maps(1, 7, 6)
    found = np.rot90(stage(maps)[0], turns)
    turned = np.rot90(np.pad(maps[0], 3, "edge"), turns)
    expected = np.empty(found.shape)
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            levels = [int(turned[y + 3 + tap.dy, x + 3 + tap.dx]) for tap in taps]
            expected[y, x] = interpolate(table, levels, step)[0] / step + 128
    np.testing.assert_array_equal(found, np.rint(expected.clip(0, 255)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sub_pixels_turn_with_the_image(scale: int) -> None:
    """A model enlarges the rotated image to the rotated result."""
    tables = {name: random_table(scale**2, seed=i) for i, name in enumerate("sdy")}
    stage = make_stage(tables, denominator=12, bias=128, scale=scale)
    maps = random_maps(1, 9, 8)
    turned = stage(np.ascontiguousarray(np.rot90(maps, axes=(1, 2))))
    np.testing.assert_array_equal(turned, np.rot90(stage(maps), axes=(1, 2)))


def test_a_table_of_several_maps() -> None:
    """Values of an entry without sub-pixels are maps, and do not turn."""
    table = random_table(3)
    stage = make_stage({"s": table}, denominator=4, bias=100, maps=3)
    maps = random_maps(1, 5, 6)
    for number, found in enumerate(stage(maps)):
        single = make_stage({"s": table[:, number : number + 1]}, denominator=4, bias=100)
        np.testing.assert_array_equal(found, single(maps)[0])


def test_taps_may_lie_in_other_maps() -> None:
    """A table indexed by two maps adds them where its entries do."""
    levels = np.arange(17) * 4  # of a step of 16: a quarter of a level
    table = (levels[:, None] + levels[None, :]).reshape(-1, 1).astype(np.int16)
    table = (table - 1).clip(-128, 127).astype(np.int8)
    lookup = Lookup("t", (Tap(0, 0, 0), Tap(0, 0, 1)), (0,))
    stage = make_stage({"t": table}, [lookup], bias=1)
    maps = random_maps(2, 4, 5)
    expected = maps.astype(int).sum(0) / 4
    np.testing.assert_allclose(stage(maps)[0], expected.clip(0, 128), atol=0.5)


def test_zero_tables_with_a_residual_change_nothing() -> None:
    """A residual stage of empty tables is the identity, at any scale."""
    table = np.zeros((17**4, 4), np.int8)
    stage = make_stage({"s": table}, scale=2, residual=True)
    maps = random_maps(1, 5, 7)
    np.testing.assert_array_equal(stage(maps), maps.repeat(2, 1).repeat(2, 2))


def test_tables_of_another_size_are_rejected() -> None:
    """A table must have an entry for each combination of levels."""
    with pytest.raises(BadModel, match="83520"):
        make_stage({"s": random_table(1)[1:]})
    with pytest.raises(BadModel, match=r"shape \(83521, 3\), expected \(83521, 4\)"):
        make_stage({"s": random_table(3)}, scale=2)
    with pytest.raises(BadModel, match="d is missing"):
        make_stage({"s": random_table(1)}, [Lookup(it, PATTERNS[it]) for it in "sd"])
    with pytest.raises(BadModel, match="int8"):
        make_stage({"s": random_table(1).astype(np.float32)})


def make_model(scale: int) -> Model:
    """Return a model of two stages with wide patterns."""
    tables = {name: random_table(1, seed=i) for i, name in enumerate("sdy")}
    tables |= {name: random_table(scale**2, seed=i) for i, name in enumerate("cx")}
    first, second = ([Lookup(it, PATTERNS[it]) for it in names] for names in ("sdy", "cx"))
    layers = (
        Layer("first", tuple(first), 12, 127),
        Layer("second", tuple(second), 8, 127, reads=(1,), scale=scale),
    )
    return build(Description(layers), tables)


def make_resampler() -> Resampler:
    """Return a resampler of arbitrary kernels."""
    return Resampler(
        make_stage({"c": random_table(1)}, denominator=4, bias=127),
        make_stage({"x": random_table(3)}, denominator=4, bias=127, maps=3),
    )


@pytest.mark.parametrize("height", [1, 2, 40, 63])
@pytest.mark.parametrize("strips", [1, 2, 7])
@pytest.mark.parametrize("scale", [1, 2, 1.37, 3.9])
def test_strips_are_bit_equal(height: int, strips: int, scale: float) -> None:
    """Strips of rows are equal to the rows of the whole, at their seams too."""
    maps = random_maps(3, height, 9)
    if isinstance(scale, int):
        model = make_model(scale)
        whole = model.run_rows(maps, 0, height)
        ends = np.linspace(0, height, strips + 1).astype(int)
        parts = [model.run_rows(maps, a, b) for a, b in pairwise(ends) if a < b]
    else:
        resampler = make_resampler()
        rows = int(np.ceil(scale * height))
        whole = resampler.run_rows(maps, scale, 0, rows)
        ends = np.linspace(0, rows, strips + 1).astype(int)
        parts = [resampler.run_rows(maps, scale, a, b) for a, b in pairwise(ends) if a < b]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_16_bit_pixels_keep_their_gradients() -> None:
    """What 8 bits lose is added back: an identity enlarges 16-bit pixels exactly."""
    table = np.zeros((17**4, 4), np.int8)
    layer = Layer("one", (Lookup("s", PATTERNS["s"]),), 1, scale=2, residual=True)
    model = build(Description((layer,)), {"s": table})
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    found = upscale(pixels, model, 2, run_serially)
    np.testing.assert_array_equal(found, pixels.repeat(2, 0).repeat(2, 1))


def test_a_constant_image_stays_constant_when_resampled() -> None:
    """A mean of equal values is that value, whatever the weights are."""
    sharpen = make_stage({"s": np.zeros((17**4, 1), np.int8)}, residual=True)
    shapes = make_stage({"x": random_table(3)}, denominator=4, bias=127, maps=3)
    model = Resampler(sharpen, shapes)
    pixels = np.full((5, 4, 3), (10, 200, 255), np.uint8)
    found = upscale(pixels, model, 1.5, run_serially)
    assert found.shape == (8, 6, 3)
    assert (found == pixels[0, 0]).all()
