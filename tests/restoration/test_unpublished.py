"""Methods without published tables: their models compute the sums of tables of known values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BadModel
from app.restoration.engine import Stage
from app.restoration.layers import PATTERNS, Layer, Lookup, diagonal_rows
from app.restoration.methods import METHODS
from app.restoration.published_files import Hparams, Tensors
from tests.restoration.oracles import interpolate

LEVELS = np.arange(17)
MIXED = {f"{m}_{c}": 4 for m in ("m1", "m2") for c in "rgb"} | {f"q_{c}": 3 for c in "rgb"}
DNLUT = MIXED | {f"v{n}": 3 for n in range(1, 6)}


def along(axis: int, taps: int = 4, *, slope: float = 8.0, values: int = 1) -> NDArray[np.int8]:
    """Return a table that depends on one tap alone: slope per level of the grid, less 64."""
    shape = [1] * taps
    shape[axis] = 17
    grid = np.broadcast_to((LEVELS * slope - 64).reshape(shape), (17,) * taps)
    return np.repeat(grid.reshape(-1, 1), values, axis=1).clip(-128, 127).astype(np.int8)


def constant(value: int, taps: int = 4, values: int = 1) -> NDArray[np.int8]:
    """Return a table of equal entries."""
    return np.full((17**taps, values), value, np.int8)


def random_maps(*shape: int) -> NDArray[np.uint8]:
    """Return maps (C, H, W) of all levels."""
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def make_spf(rng: np.random.Generator | None, scale: int = 2) -> Tensors:
    """Return tables that are random, or that add 10 to the middle gray at each stage."""
    sizes = {f"stage{n}_{p}": 2 if n < 4 else 1 for n in range(1, 5) for p in "sdy"}
    sizes |= {"merge": 4} | {f"out{c}_{p}": scale**2 for c in range(4) for p in "sdy"}
    if rng is None:
        return {name: constant(10, values=values) for name, values in sizes.items()}
    return {n: rng.integers(-128, 128, (17**4, v)).astype(np.int8) for n, v in sizes.items()}


def make_rc(rng: np.random.Generator, scale: int = 2) -> Tensors:
    """Return random tables of RC-LUT."""
    tables: Tensors = {}
    for n in (3, 5, 7):
        for y, x in np.ndindex(n, n):
            tables[f"sum{n}_{y}{x}"] = rng.integers(-128, 128, (256, 1)).astype(np.int8)
        tables[f"out{n}_s"] = rng.integers(-128, 128, (17**4, scale**2)).astype(np.int8)
    return tables


def make_ec(rng: np.random.Generator, scale: int = 2) -> Tensors:
    """Return a random table of EC-LUT."""
    return {
        f"window_{y}{x}": rng.integers(-128, 128, (16**4, scale**2)).astype(np.int8)
        for y, x in np.ndindex(3, 3)
    }


def make_dn(rng: np.random.Generator) -> Tensors:
    """Return random tables of DnLUT."""
    return {n: rng.integers(-128, 128, (17**t, 1)).astype(np.int8) for n, t in DNLUT.items()}


def test_spf_lut_sums_all_maps_at_last() -> None:
    """48 look-ups of 10, divided by 12, are 40; the stages before do not matter."""
    model = METHODS["spf-lut"](make_spf(None), {"scale": 2})
    assert (model.run(random_maps(1, 4, 5)) == 40).all()


def test_spf_lut_keeps_the_first_map_of_each_stage() -> None:
    """A merge that reads the map of a stage returns what that stage kept."""
    tables = make_spf(None, scale=1)
    for number in range(1, 5):
        for pattern in "sdy":
            values = tables[f"stage{number}_{pattern}"]
            values[:, 0] = 16 * number - 40
    for number in range(1, 5):
        tables["merge"] = along(number - 1, slope=8.0, values=4)
        tables |= {f"out{c}_{p}": along(0) for c in range(4) for p in "sdy"}
        kept = 127 + 16 * number - 40  # a multiple of 16, less 9
        merged = round(kept / 16 * 8 - 64 + 127)
        expected = min(255, max(0, round(4 * (merged / 16 * 8 - 64))))
        found = METHODS["spf-lut"](tables, {"scale": 1}).run(random_maps(1, 5, 4))
        assert (abs(found.astype(int) - expected) <= 2).all()  # rounded twice


def test_dnlut_mixes_each_channel_with_the_next() -> None:
    """With tables that read one tap, blue reaches red after two mixers that read the next one."""
    tables: Tensors = {name: along(0, taps) for name, taps in DNLUT.items()}
    maps = np.stack([np.full((4, 5), level, np.uint8) for level in (32, 96, 224)])
    found = METHODS["dnlut"](tables, {}).run(maps)

    def apply(level: float, count: int) -> float:
        for _ in range(count):
            level = np.rint(level / 16 * 8 - 64 + 127)
        return level

    # Mixer, one V, merge of V1, V, mixer: five tables of which each halves, and the last V of four.
    for channel, source in enumerate((224, 32, 96)):
        level = apply(float(source), 5)
        expected = np.rint(np.clip(4 * (level / 16 * 8 - 64), 0, 255))
        assert (abs(found[channel].astype(int) - expected) <= 2).all()


def test_spf_lut_reads_compressed_tables() -> None:
    """With DFC, all tables but the merge are of two parts; of equal entries the sum is the same."""
    whole = make_spf(None)
    rows = int(diagonal_rows(16, 32).sum())
    tables = {"merge": whole.pop("merge")}
    tables |= {name: table[:rows] for name, table in whole.items()}
    tables |= {f"coarse_{name}": table[: 9**4] for name, table in whole.items()}
    found = METHODS["spf-lut"](tables, {"scale": 2, "diagonal": 32}).run(random_maps(1, 4, 5))
    assert (found == 40).all()


def test_rc_lut_squashes_the_mean_of_the_neighbourhood() -> None:
    """Tables whose entries are the level give tanh of the mean; the last ones pass it on."""
    scale, tables = 2, make_rc(np.random.default_rng(0))
    for n in (3, 5, 7):
        levels = np.clip(np.arange(256) // 2, 0, 127).astype(np.int8)
        tables |= {f"sum{n}_{y}{x}": levels[:, None] for y, x in np.ndindex(n, n)}
        tables[f"out{n}_s"] = along(0, slope=4.0, values=scale**2)
    plane = np.full((1, 6, 6), 100, np.uint8)
    found = METHODS["rc-lut"](tables, {"scale": scale}).run(plane)
    squashed = np.rint(127 * np.tanh(50 / 127)) + 127
    expected = np.rint(100 + squashed / 16 * 4 - 64)
    assert found.shape == (1, 12, 12)
    assert (found == expected).all()


def test_ec_lut_adds_overlapping_windows() -> None:
    """A table that corrects one cell of its window moves the correction to that neighbour."""
    tables = {name: np.zeros_like(it) for name, it in make_ec(np.random.default_rng(0), 1).items()}
    bright = np.arange(16**4) // 16**3 == 15  # the first tap
    tables["window_01"][bright] = 20  # the pixel above
    maps = np.full((1, 5, 5), 100, np.uint8)
    maps[0, 3, 2] = 250
    model = METHODS["ec-lut"](tables, {"scale": 1, "unit": 0.5})
    found = model.run(maps)[0].astype(int) - maps[0]
    assert found[2, 2] == 10
    assert np.count_nonzero(found) == 1


def test_ec_lut_sums_nine_windows_at_any_scale() -> None:
    """Equal entries add up to nine times their value, at the border too."""
    tables = {name: np.full_like(it, 2) for name, it in make_ec(np.random.default_rng(0)).items()}
    found = METHODS["ec-lut"](tables, {"scale": 2, "unit": 1.0}).run(
        np.full((1, 4, 3), 50, np.uint8)
    )
    assert found.shape == (1, 8, 6)
    assert (found == 68).all()


@pytest.mark.parametrize(
    ("method", "make", "channels", "hparams"),
    [
        ("spf-lut", make_spf, 1, {"scale": 2}),
        ("dnlut", make_dn, 3, {}),
        ("rc-lut", make_rc, 1, {"scale": 2}),
        ("ec-lut", make_ec, 1, {"scale": 2, "unit": 0.1}),
    ],
)
def test_strips_are_as_the_whole(method: str, make, channels: int, hparams: Hparams) -> None:
    """The reach of each model covers what its output depends on; a missing table is named."""
    tables = make(np.random.default_rng(0))
    model = METHODS[method](tables, hparams)
    maps = random_maps(3, 40, 6)
    assert model.channels == channels
    whole = model.run_rows(maps, 0, 40)
    assert len(np.unique(whole)) > 20
    parts = [model.run_rows(maps, a, b) for a, b in pairwise((0, 1, 17, 40))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    name = next(iter(tables))
    with pytest.raises(BadModel, match=name):
        METHODS[method]({key: it for key, it in tables.items() if key != name}, hparams)


@pytest.mark.parametrize("turns", range(4))
def test_dfc_reads_fine_entries_near_the_diagonal(turns: int) -> None:
    """Where taps differ by at most 32 levels the fine table is read, else the coarse one."""
    fine = np.random.default_rng(0).integers(-127, 128, (17**4, 1)).astype(np.int8)
    coarse = np.random.default_rng(1).integers(-127, 128, (9**4, 1)).astype(np.int8)
    taps = PATTERNS["y"]
    layer = Layer("one", (Lookup("t", taps, (turns,)),), 1, 128, diagonal=32)
    stage = Stage(layer, {"t": fine[diagonal_rows(16, 32)], "coarse_t": coarse})
    maps = random_maps(1, 12, 12) // 3 + 80
    found = np.rot90(stage(maps)[0], turns)
    turned = np.rot90(np.pad(maps[0], 2, "edge"), turns)
    near = 0
    for y, x in np.ndindex(found.shape):
        levels = [int(turned[y + 2 + tap.dy, x + 2 + tap.dx]) for tap in taps]
        close = all(abs(level - levels[0]) <= 32 for level in levels)
        table, step = (fine, 16) if close else (coarse, 32)
        expected = interpolate(table, levels, step)[0] / step + 128
        assert found[y, x] == np.rint(np.clip(expected, 0, 255))
        near += close
    assert 20 < near < 124


def test_dfc_stores_the_entries_near_the_diagonal() -> None:
    """A compressed model is a fraction of the size, and incomplete tables are named."""
    rng = np.random.default_rng(0)
    rows = diagonal_rows(16, 32)
    fine = rng.integers(-127, 128, (rows.sum(), 4)).astype(np.int8)
    coarse = rng.integers(-127, 128, (9**4, 4)).astype(np.int8)
    hparams = {"denominators": [4.0], "biases": [100.0], "diagonal": 32}
    tables = {"stage1_s": fine, "coarse_stage1_s": coarse}
    found = METHODS["mulut"](tables, hparams).run(random_maps(1, 30, 30))
    assert found.shape == (1, 60, 60)
    assert rows.sum() < 17**4 / 15
    with pytest.raises(BadModel, match=f"{rows.sum()} rows"):
        METHODS["mulut"]({"stage1_s": fine}, hparams)
    with pytest.raises(BadModel, match="stage1_s has shape"):
        METHODS["mulut"]({"stage1_s": fine[1:], "coarse_stage1_s": coarse}, hparams)
