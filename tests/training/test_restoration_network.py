"""Networks of spatial LUTs in training: they compute what the engine does, and their slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.restoration.descriptions import DESCRIPTIONS
from app.restoration.engine import build
from app.restoration.layers import PATTERNS, Description, Layer, Lookup
from app.training.restoration.network import Network
from app.training.restoration.patches import Patches
from tests.helpers.restoration import UNPUBLISHED, random_maps, to_image


def describe(layer: Layer) -> Description:
    """Return a description of one layer."""
    return Description((layer,))


def random_network(
    description: Description, grids: tuple[int, ...] = (64,), sets: int = 1
) -> Network:
    """Return a network whose tables have no order."""
    network, rng = Network(description, grids, sets), np.random.default_rng(0)
    for table in network.tables.values():
        table.entries[:] = rng.uniform(-30, 30, table.entries.shape)
    return network


def sdy(patterns: str, scale: int, **options: Any) -> Layer:
    """Return a layer with a residual."""
    lookups = tuple(Lookup(name, PATTERNS[name]) for name in patterns)
    return Layer("one", lookups, 8, scale=scale, residual=True, **options)


def check_engine(network: Network, inputs: NDArray[np.uint8], most: int, least: int) -> None:
    """Compare the results of a network with those of the engine, away from the border.

    Args:
        network: with its tables.
        inputs: one image.
        most: levels by which the results may differ.
        least: the number of levels that the results have.
    """
    description = network.description
    scale, reach = description.scale, description.reach
    found = to_image(network.results(network.forward(inputs, [1.0])), scale)
    whole = build(description, network.to_tables([1.0])).run(inputs[0])
    inner = slice(scale * reach, -scale * reach)
    expected = whole[:, inner, inner]
    assert len(np.unique(expected)) > least
    assert np.abs(found.astype(int) - expected).max() <= most


@pytest.mark.parametrize("step", [16, 32, 64])
@pytest.mark.parametrize(("patterns", "scale"), [("s", 1), ("sdy", 1), ("sdy", 2), ("dy", 4)])
def test_the_forward_pass_is_the_engine(patterns: str, scale: int, step: int) -> None:
    """What is trained is what the service computes, away from the border."""
    network = random_network(describe(sdy(patterns, scale)), (step,))
    check_engine(network, random_maps(), 0, 20)


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_the_forward_pass_of_each_method_is_the_engine(name: str) -> None:
    """Also with compressed tables, sums of single pixels, and entries without interpolation."""
    hparams, channels, grids = UNPUBLISHED[name]
    description = DESCRIPTIONS[name.split()[0]]({"scale": 2, **hparams})
    network = Network(description, grids[-1])
    rng = np.random.default_rng(0)
    for table in network.tables.values():
        table.entries += rng.uniform(-20, 20, table.entries.shape)
    side = 2 * description.reach + 9
    check_engine(network, random_maps(side, channels=channels), 1, 40)


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_each_method_begins_with_what_it_follows(name: str) -> None:
    """Before training, a method returns its input, or repeats its pixels."""
    hparams, channels, grids = UNPUBLISHED[name]
    description = DESCRIPTIONS[name.split()[0]]({"scale": 2, **hparams})
    network, reach = Network(description, grids[-1]), description.reach
    levels = np.linspace(20, 230, 2 * reach + 9).astype(np.uint8)
    inputs = np.broadcast_to(levels, (1, channels, len(levels), len(levels))).copy()
    found = network.results(network.forward(inputs, [1.0]))
    inner = inputs[:, :, reach:-reach, reach:-reach].transpose(1, 0, 2, 3)[..., None]
    assert np.abs(found - inner).max() <= 12  # a level of the grid in each of the layers


def test_tables_are_blended_and_rounded() -> None:
    """The sets are rounded to int8, weighted, and the sum is rounded and clamped."""
    network = random_network(describe(sdy("s", 1)), sets=2)
    table = network.tables["s"]
    table.entries[:, 0, 0] = [3.6, -7.4]
    table.entries[:, 1, 0] = [120.0, 120.0]
    found = table.blend([0.5, 1.0])
    assert found[0, 0] == -5.0  # 0.5 * 4 - 7
    assert found[1, 0] == 127.0
    assert network.to_tables([0.5, 1.0])["s"][1, 0] == 127


def test_the_slopes_of_the_tables_are_those_of_the_sum() -> None:
    """The output is linear in the entries: its change is the sum of slopes and changes."""
    network = random_network(describe(sdy("sdy", 2)), sets=2)
    maps, weights = random_maps(count=2), (0.25, 0.75)
    rng = np.random.default_rng(1)
    (tape,) = tapes = network.forward(maps, weights)
    slopes = rng.normal(size=tape.out.shape).astype(np.float32)
    network.backward(tapes, slopes[None], weights)
    layer = network.layers[0]
    changes = {
        name: rng.integers(-4, 5, it.entries.shape).astype(np.float32)
        for name, it in network.tables.items()
    }
    mixed = np.stack([np.tensordot(weights, it, 1) for it in changes.values()]).astype(np.float32)
    difference = layer.sum(tape.maps, tape.tables + mixed) - layer.sum(tape.maps, tape.tables)
    found = sum(float((network.tables[it].slopes * changes[it]).sum()) for it in changes)
    assert found == pytest.approx(float((difference * slopes).sum()), rel=1e-3)


@pytest.mark.parametrize("diagonal", [0, 32])
def test_the_slopes_of_the_maps_are_those_of_the_simplex(diagonal: int) -> None:
    """Within a simplex the output is linear in the pixels; rounding does not stop the slopes."""
    grids = (16,) if diagonal else (64,)
    network = random_network(describe(sdy("sdy", 1, diagonal=diagonal)), grids)
    layer, step = network.layers[0], grids[0]
    maps = random_maps(9) // (3 if diagonal else 2) + 60
    (tape,) = network.forward(maps, [1.0])
    slopes = np.ones_like(tape.out)
    found = layer.add_slopes(tape, slopes, np.zeros_like(tape.tables), passes_on=True)
    assert found is not None
    compared = 0
    for y, x in np.ndindex(9, 9):
        higher, lower = maps.copy(), maps.copy()
        higher[0, 0, y, x] += 1
        lower[0, 0, y, x] -= 1
        up, middle, down = (
            float(network.forward(it, [1.0])[0].out.sum()) for it in (higher, maps, lower)
        )
        # Where the pixel lies on a border between simplices, the slopes on both sides differ.
        if abs((up - middle) - (middle - down)) < 1e-3 and maps[0, 0, y, x] % step:
            assert found[0, 0, y, x] == pytest.approx((up - down) / 2, abs=0.02)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("name", ["spf-lut with DFC", "dnlut", "rc-lut"])
def test_slopes_reach_the_first_layer(name: str) -> None:
    """Along the slopes of the tables, the loss of a network falls as the slopes predict."""
    hparams, channels, grids = UNPUBLISHED[name]
    description = DESCRIPTIONS[name.split()[0]]({"scale": 1, **hparams})
    network = Network(description, grids[-1])
    last = network.tables[description.layers[-1].lookups[0].table]
    last.entries += np.random.default_rng(0).uniform(-9, 9, last.entries.shape)
    side = 2 * description.reach + 16
    inputs = random_maps(side, 2, channels=channels) // 2 + 64
    inner = inputs[
        :, :, description.reach : -description.reach, description.reach : -description.reach
    ]
    patches = Patches(inputs, (inner // 2 + 80).astype(np.uint8), (1.0,))
    before = network.propagate(patches)
    first = description.layers[0].lookups[0].table
    assert np.abs(network.tables[first].slopes).max() > 0
    for _ in range(8):
        network.update(1.0)
        after = network.propagate(patches)
    assert after < 0.8 * before


@pytest.mark.parametrize("diagonal", [0, 32])
def test_areas_of_one_level_stay(diagonal: int) -> None:
    """Whatever the steps, a model that corrects returns an area of one level as it is."""
    layer = sdy("sdy", 1, diagonal=diagonal)
    network = Network(describe(layer), (16,) if diagonal else (64,))
    rng = np.random.default_rng(0)
    for table in network.tables.values():
        table.slopes[:] = rng.normal(size=table.slopes.shape)
    network.update(20.0)
    model = build(network.description, network.to_tables([1.0]))
    levels = range(0, 256, 5)
    assert [set(model.run(np.full((1, 6, 6), it, np.uint8)).flat) for it in levels] == [
        {it} for it in levels
    ]
    assert (model.run(random_maps(20)[0]) != random_maps(20)[0]).any()


def test_refining_keeps_the_entries() -> None:
    """A finer grid has the coarse entries, and means between them."""
    network = random_network(describe(sdy("s", 1)), sets=2)
    coarse = network.tables["s"].entries.reshape(2, 5, 5, 5, 5)
    network.refine((32,))
    fine = network.tables["s"].entries.reshape(2, 9, 9, 9, 9)
    np.testing.assert_array_equal(fine[:, ::2, ::2, ::2, ::2], coarse)
    middle = (coarse[:, 0, 1, 2, 3] + coarse[:, 1, 1, 2, 3]) / 2
    np.testing.assert_allclose(fine[:, 1, 2, 4, 6], middle, rtol=1e-6)


def test_refining_compresses_to_the_diagonal() -> None:
    """Where a grid becomes the finest, the coarse one is kept, and nothing changes."""
    network = random_network(describe(sdy("s", 1, diagonal=32)), (32,))
    maps = random_maps()
    (before,) = network.forward(maps, [1.0])
    network.refine((16,))
    rows = {name: len(table) for name, table in network.to_tables([1.0]).items()}
    assert rows["coarse_s"] == 9**4
    assert rows["s"] < 17**4 / 15
    (after,) = network.forward(maps, [1.0])
    assert np.abs(after.out - before.out).max() < 2  # rounded means of entries
