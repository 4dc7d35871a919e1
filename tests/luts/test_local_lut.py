"""Several LUTs that a map mixes: the reference, the compiled loops and the flat table."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from app.luts.apply import PreparedLocalLut, apply, local_memory, prepare
from app.luts.local_lut import LocalLut, Places
from app.luts.lut3d import Lut3D

IDENTITY = Lut3D.identity(17)
DARK, BRIGHT = 0.25, 0.75  # of the synthetic edge


def make_lut(gain: float, wave: float = 0.02) -> Lut3D:
    """Make a smooth table that brightens, and leaves 0..1 where `gain` is above 1."""
    return Lut3D((IDENTITY.table * gain + wave * np.sin(6 * IDENTITY.table)).astype(np.float32))


def make_local(tables: int, levels: int, seed: int = 0) -> LocalLut:
    """Make a local LUT with a random map, of which some shares are 0 and some are 1."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(tables, 0.3), (levels, 5, 7)).transpose(3, 0, 1, 2)
    gains = np.linspace(0.6, 1.4, tables)
    return LocalLut(tuple(map(make_lut, gains)), np.floor(shares[1:] * 255).astype(np.uint8))


def make_pixels(dtype: DTypeLike, height: int = 61, width: int = 83) -> NDArray[np.uint8]:
    """Make random pixels; the first row is white, the second black."""
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(1).integers(0, top, (height, width, 3), endpoint=True)
    pixels[0], pixels[1] = top, 0
    return pixels.astype(dtype)


@pytest.mark.parametrize("steep", [False, True])
@pytest.mark.parametrize(("tables", "levels"), [(2, 1), (2, 8), (3, 4), (10, 1), (16, 8)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_loops_are_within_a_level_of_double_precision(
    dtype: DTypeLike, tables: int, levels: int, steep: bool
) -> None:
    """All loops, packed or not, round as the reference, within one of 256 levels."""
    lut = make_local(tables, levels)
    if steep:  # beyond what packing holds
        lut = LocalLut((make_lut(9.0), *lut.tables[1:]), lut.map)
    pixels = make_pixels(dtype)
    top = np.iinfo(dtype).max
    places = Places.of_image(*pixels.shape[:2])
    expected = np.rint(lut.evaluate(pixels / top, places, "tetrahedral").clip(0, 1) * top)
    apply(pixels, lut)
    assert np.abs(pixels - expected).max() <= top / 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_memory_of_prepared_tables_is_known(dtype: DTypeLike) -> None:
    """No local LUT takes more than it is charged for; most of it is taken by many tables."""
    for count in (2, 10, 16):
        lut = make_local(count, 8)
        prepared = prepare(lut, "tetrahedral", dtype)
        assert isinstance(prepared, PreparedLocalLut)
        assert isinstance(prepared.loop, partial)
        _, tables, *_ = prepared.loop.args
        assert lut.nbytes + tables.nbytes <= local_memory(count, lut.size)
    assert lut.nbytes + tables.nbytes > 0.9 * local_memory(count, lut.size)


def test_strips_are_parts_of_the_image() -> None:
    """Rows that are applied by themselves, with their places, become what they are in the image."""
    lut, whole = make_local(2, 4), make_pixels(np.uint8)
    parts = whole.copy()
    places = Places.of_image(*whole.shape[:2])
    prepared = prepare(lut, "tetrahedral", np.uint8)
    prepared.apply(whole)
    for top in range(0, len(parts), 20):
        prepared.apply(parts[top : top + 20], places.rows(top, top + 20))
    np.testing.assert_array_equal(parts, whole)


def test_pixels_may_lie_anywhere() -> None:
    """Single pixels, each with its place, become what they are in the image."""
    lut, whole = make_local(2, 4), make_pixels(np.uint8)
    rows, columns = np.array([0, 7, 60, 31]), np.array([82, 0, 41, 5])
    samples = whole[rows, columns][:, None].copy()
    places = Places.of_image(*whole.shape[:2])
    prepared = prepare(lut, "tetrahedral", np.uint8)
    prepared.apply(whole)
    prepared.apply(samples, Places(places.x[0, columns][:, None], places.y[rows]))
    np.testing.assert_array_equal(samples[:, 0], whole[rows, columns])


def test_an_edge_has_no_halo() -> None:
    """A dark figure is lightened, and the bright sky beside it stays, up to the very edge."""
    pixels = np.full((90, 120, 3), round(BRIGHT * 255), np.uint8)
    figure = np.hypot(*(np.mgrid[:90, :120] - np.array([45, 60])[:, None, None])) < 25
    pixels[figure] = round(DARK * 255)
    cells = np.zeros((1, 8, 16, 16), np.uint8)
    cells[:, :4] = 255  # dark colours take the second table, everywhere
    lut = LocalLut((IDENTITY, make_lut(2.0, wave=0.0)), cells)
    apply(pixels, lut)
    sky, inside = pixels[~figure].astype(int), pixels[figure].astype(int)
    assert sky.max() - sky.min() <= 2
    assert inside.max() - inside.min() <= 2
    assert abs(sky.mean() - BRIGHT * 255) <= 2
    assert inside.mean() > 1.5 * DARK * 255


def test_strength_blends_with_the_input() -> None:
    """Half the strength is the mean of input and result; none is the input."""
    lut, places = make_local(3, 2), Places.of_image(6, 9)
    colours = np.random.default_rng(2).random((6, 9, 3))
    full = lut.evaluate(colours, places)
    half = lut.at_strength(0.5).evaluate(colours, places)
    np.testing.assert_allclose(half, (colours + full) / 2, atol=1e-6)
    np.testing.assert_allclose(lut.at_strength(0.0).evaluate(colours, places), colours, atol=1e-6)


def test_the_flat_table_is_the_mean_over_the_cells() -> None:
    """At a lattice colour it is the mean of the outputs at all cells, and the error bounds them."""
    lut = make_local(3, 4)
    flat, error = lut.flatten(), lut.flattening_error()
    _, _, height, width = lut.map.shape
    colour = IDENTITY.table[3, 9, 14]
    there = lut.evaluate(np.tile(colour, (height, width, 1)), Places.of_image(height, width))
    np.testing.assert_allclose(flat.table[3, 9, 14], there.mean(axis=(0, 1)), atol=1e-5)
    distance = 255 * np.abs(there.clip(0, 1) - flat.table[3, 9, 14].clip(0, 1))
    assert distance.max() <= error.worst + 1e-3
    assert 0 < error.mean < error.worst


def test_an_even_map_is_flat() -> None:
    """A map that is the same everywhere loses nothing as one table."""
    lut = make_local(2, 1)
    error = LocalLut(lut.tables, np.full_like(lut.map, 100)).flattening_error()
    assert error.worst < 1e-3


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (np.zeros((1, 1, 2, 2), np.float32), "uint8"),
        (np.zeros((1, 2, 2), np.uint8), "uint8"),
        (np.zeros((1, 0, 2, 2), np.uint8), "uint8"),
        (np.zeros((2, 1, 2, 2), np.uint8), "all tables but one"),
    ],
)
def test_maps_that_do_not_fit_are_rejected(cells: NDArray[np.uint8], named: str) -> None:
    """Shape, dtype and the number of tables are checked."""
    with pytest.raises(ValueError, match=named):
        LocalLut((IDENTITY, IDENTITY), cells)


def test_shares_beyond_all_are_rejected() -> None:
    """The first table has the rest, which is not negative."""
    with pytest.raises(ValueError, match="at most 1 in all"):
        LocalLut((IDENTITY,) * 3, np.full((2, 1, 2, 2), 200, np.uint8))


def test_tables_that_differ_in_size_are_rejected() -> None:
    """The loops look all tables up by one key."""
    with pytest.raises(ValueError, match="one size"):
        LocalLut((IDENTITY, Lut3D.identity(9)), np.zeros((1, 1, 2, 2), np.uint8))
