"""The engine computes what the definition says, in strips as in one piece."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from app.restoration.apply import upscale
from app.restoration.engine import PATTERNS, ROTATIONS, Group, Model, Stage, Tap, chain
from app.restoration.resample import Resampler
from tests.restoration.oracles import interpolate


def random_table(values: int, taps: int = 4, step: int = 16, seed: int = 0) -> NDArray[np.int8]:
    """Return a table without any order."""
    rows = (256 // step + 1) ** taps
    return np.random.default_rng(seed).integers(-127, 128, (rows, values)).astype(np.int8)


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
    stage = Stage((Group(taps, table, (turns,)),), denominator=1, bias=128, step=step)
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
    groups = tuple(Group(PATTERNS[p], random_table(scale**2, seed=i)) for i, p in enumerate("sdy"))
    stage = Stage(groups, denominator=12, bias=128, scale=scale)
    maps = random_maps(1, 9, 8)
    turned = stage(np.ascontiguousarray(np.rot90(maps, axes=(1, 2))))
    np.testing.assert_array_equal(turned, np.rot90(stage(maps), axes=(1, 2)))


def test_a_table_of_several_maps() -> None:
    """Values of an entry without sub-pixels are maps, and do not turn."""
    table = random_table(3)
    stage = Stage((Group(PATTERNS["s"], table),), denominator=4, bias=100)
    maps = random_maps(1, 5, 6)
    for number, found in enumerate(stage(maps)):
        single = Stage((Group(PATTERNS["s"], table[:, number : number + 1]),), 4, 100)
        np.testing.assert_array_equal(found, single(maps)[0])


def test_taps_may_lie_in_other_maps() -> None:
    """A table indexed by two maps adds them where its entries do."""
    levels = np.arange(17) * 4  # of a step of 16: a quarter of a level
    table = (levels[:, None] + levels[None, :]).reshape(-1, 1).astype(np.int16)
    table = (table - 1).clip(-128, 127).astype(np.int8)
    stage = Stage((Group((Tap(0, 0, 0), Tap(0, 0, 1)), table, (0,)),), denominator=1, bias=1)
    maps = random_maps(2, 4, 5)
    expected = maps.astype(int).sum(0) / 4
    np.testing.assert_allclose(stage(maps)[0], expected.clip(0, 128), atol=0.5)


def test_zero_tables_with_a_residual_change_nothing() -> None:
    """A residual stage of empty tables is the identity, at any scale."""
    table = np.zeros((17**4, 4), np.int8)
    stage = Stage((Group(PATTERNS["s"], table),), denominator=1, scale=2, residual=True)
    maps = random_maps(1, 5, 7)
    np.testing.assert_array_equal(stage(maps), maps.repeat(2, 1).repeat(2, 2))


def test_tables_of_another_size_are_rejected() -> None:
    """A table must have an entry for each combination of levels."""
    with pytest.raises(ValueError, match="83520"):
        Stage((Group(PATTERNS["s"], random_table(1)[1:]),), denominator=1)
    with pytest.raises(ValueError, match="values"):
        Stage((Group(PATTERNS["s"], random_table(3)),), denominator=1, scale=2)


def make_model(scale: int) -> Model:
    """Return a model of two stages with wide patterns."""
    first = tuple(Group(PATTERNS[p], random_table(1, seed=i)) for i, p in enumerate("sdy"))
    second = tuple(Group(PATTERNS[p], random_table(scale**2, seed=i)) for i, p in enumerate("cx"))
    return chain([Stage(first, 12, 127), Stage(second, 8, 127, scale=scale)])


def make_resampler() -> Resampler:
    """Return a resampler of arbitrary kernels."""
    return Resampler(
        Stage((Group(PATTERNS["c"], random_table(1)),), 4, 127),
        Stage((Group(PATTERNS["x"], random_table(3)),), 4, 127),
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
    model = chain([Stage((Group(PATTERNS["s"], table),), 1, scale=2, residual=True)])
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    found = upscale(pixels, model, 2, run_serially)
    np.testing.assert_array_equal(found, pixels.repeat(2, 0).repeat(2, 1))


def test_a_constant_image_stays_constant_when_resampled() -> None:
    """A mean of equal values is that value, whatever the weights are."""
    sharpen = Stage((Group(PATTERNS["s"], np.zeros((17**4, 1), np.int8)),), 1, residual=True)
    model = Resampler(sharpen, Stage((Group(PATTERNS["x"], random_table(3)),), 4, 127))
    pixels = np.full((5, 4, 3), (10, 200, 255), np.uint8)
    found = upscale(pixels, model, 1.5, run_serially)
    assert found.shape == (8, 6, 3)
    assert (found == pixels[0, 0]).all()
