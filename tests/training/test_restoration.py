"""Training of spatial LUTs: slopes, rounding, checkpoints, and the model that is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import app.training
from app.cli.main import create_cli
from app.errors import BadParameter
from app.restoration.cleaning import KNOTS, Cleaner, Damage
from app.restoration.described import DESCRIPTIONS
from app.restoration.engine import Model, build
from app.restoration.layers import PATTERNS, Description, Layer, Lookup
from app.restoration.store import read_restorer, read_restorers
from app.training.config import read_config
from app.training.data import Photos
from app.training.restoration.config import RestorationConfig
from app.training.restoration.network import Network
from app.training.restoration.patches import Patches, batches, make_groups, read_example
from app.training.restoration.trainer import RestorationTrainer, fit_linear, train

RECIPES = sorted((Path(app.training.__file__).parent / "recipes" / "restoration").glob("*.toml"))


TWO_STAGES = {"patterns": ["sdy", "sdy"], "denominators": [24.0, 8.0], "residual": True}
# Hparams, channels and grids of the methods that nobody published tables of.
UNPUBLISHED: dict[str, tuple[dict[str, Any], int, list[tuple[int, ...]]]] = {
    "spf-lut": ({}, 1, [(64,), (32,)]),
    "spf-lut with DFC": ({"diagonal": 32}, 1, [(32,), (32, 16, 16, 32, 16, 16)]),
    "dnlut": ({}, 3, [(64,), (32,)]),
    "rc-lut": ({}, 1, [(1, 1, 1, 64), (1, 1, 1, 32)]),
    "ec-lut": ({"unit": 0.25}, 1, [(64,), (32,)]),
}


def configure(photos: Path, folder: Path, **options: object) -> RestorationConfig:
    """Make a recipe for the small photographs, all of whose tables are coarse."""
    defaults = {
        "name": "tiny",
        "licence": "CC0-1.0",
        "method": "mulut",
        "hparams": TWO_STAGES,
        "run": folder / "run",
        "store": folder / "store",
        "scale": 2,
        "photos": {"folder": photos, "held_out": 2},
        "damage": {"originals": (1.0, 1.0)},
        "size": 8,
        "pool": 4,
        "phases": [{"grids": (64, 64), "steps": 6, "rate": 2.0}],
        "report": 3,
    }
    return RestorationConfig.model_validate(defaults | options)


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


def random_maps(
    side: int = 12, count: int = 1, seed: int = 0, channels: int = 1
) -> NDArray[np.uint8]:
    """Return images without order."""
    shape = count, channels, side, side
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def to_image(values: NDArray[np.float32], scale: int) -> NDArray[np.uint8]:
    """Round results (C, 1, h, w, scale ** 2) to an image (C, scale * h, scale * w)."""
    channels, _, height, width, _ = values.shape
    blocks = values.reshape(channels, height, width, scale, scale).transpose(0, 1, 3, 2, 4)
    image = blocks.reshape(channels, scale * height, scale * width)
    return np.rint(image.clip(0, 255)).astype(np.uint8)


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


def test_a_linear_filter_is_found(small_photos: Path, tmp_path: Path) -> None:
    """Given inputs and their mean with the right neighbour, least squares finds the weights."""
    hparams = TWO_STAGES | {"patterns": ["s", "s"]}
    trainer = RestorationTrainer(configure(small_photos, tmp_path, scale=1, hparams=hparams))
    margin, rng = trainer.description.reach, np.random.default_rng(0)
    inputs = rng.integers(0, 256, (20, 1, 8 + 2 * margin, 8 + 2 * margin)).astype(np.uint8)
    inner = slice(margin, -margin)
    wide = inputs.astype(float)
    around = sum(np.roll(wide, shift, axis) for shift in (1, -1) for axis in (2, 3))
    targets = (0.8 * wide + 0.05 * around)[:, :, inner, inner]
    patches = Patches(inputs, np.rint(targets).astype(np.uint8), (1.0,))
    before = trainer.network.propagate(patches)
    fit_linear(trainer.network, [patches])
    assert trainer.network.propagate(patches) < 0.01 * before


@pytest.mark.parametrize("method", ["mulut", "cleaner"])
def test_steps_reduce_the_error(small_photos: Path, tmp_path: Path, method: str) -> None:
    """Some steps on one batch make the error smaller, in each kind of model."""
    damage = {"originals": (1.0, 1.0), "compressed": 1.0, "jpeg": (30, 60), "luma": True}
    scale = 2 if method == "mulut" else 1
    config = configure(small_photos, tmp_path, method=method, scale=scale, damage=damage)
    trainer, rng = RestorationTrainer(config), np.random.default_rng(0)
    photos = Photos(config.photos).train
    trainer.initialise(photos, rng)
    batch = next(batches(photos, config, trainer.description, rng))
    errors = [trainer.step(batch, 2.0) for _ in range(15)]
    assert errors[-1] < 0.97 * errors[0]


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_each_method_is_trained_and_served(photos: Path, tmp_path: Path, name: str) -> None:
    """From free photographs to a model in the store: the loss falls, and the engine agrees."""
    hparams, channels, grids = UNPUBLISHED[name]
    method = name.split()[0]
    config = configure(
        photos,
        tmp_path,
        method=method,
        hparams=hparams,
        scale=1 if method == "dnlut" else 2,
        size=16,
        damage={"originals": (0.25, 0.25), "noisy": float(method == "dnlut"), "noise": (15, 15)},
        phases=[{"grids": it, "steps": 10, "rate": 1.0} for it in grids],
        report=20,
    )
    trainer, rng = RestorationTrainer(config), np.random.default_rng(0)
    photos = Photos(config.photos).train
    trainer.initialise(photos, rng)
    batch = next(batches(photos, config, trainer.description, rng))
    before = np.mean([trainer.network.propagate(it) for it in batch])
    card = train(config)
    trainer.restore(tmp_path / "run" / "checkpoint.npz")
    after = np.mean([trainer.network.propagate(it) for it in batch])
    assert after < 0.99 * before
    model = read_restorer(tmp_path / "store" / "tiny" / "1").model
    assert isinstance(model, Model)
    assert (card.method, model.channels) == (method, channels)
    inputs = batch[0].inputs[:1]
    found = to_image(trainer.network.results(trainer.network.forward(inputs, [1.0])), card.scale)
    inner = slice(card.scale * model.reach, -card.scale * model.reach)
    served = model.run_rows(inputs[0], 0, inputs.shape[2])[:, inner, inner]
    assert np.abs(found.astype(int) - served).max() <= 1


def test_patches_belong_to_their_targets(small_photos: Path, tmp_path: Path) -> None:
    """Without damage, an input of scale 1 is its target with a margin around."""
    config = configure(small_photos, tmp_path, scale=1)
    rng, description = np.random.default_rng(0), describe(sdy("d", 1))
    for channels, shape in ((1, (4, 1, 12, 12)), (3, (4, 3, 12, 12))):
        described = replace(description, channels=channels)
        groups = make_groups(Photos(config.photos).train, config, described, rng)
        assert {group.inputs.shape for group in groups} == {shape}
        for group in groups:
            np.testing.assert_array_equal(group.inputs[:, :, 2:-2, 2:-2], group.targets)


def test_cleaning_is_conditioned_on_what_the_service_measures(
    small_photos: Path, tmp_path: Path
) -> None:
    """An example has the weights of its quality and of the noise that is estimated in it."""
    damage = {"originals": (1.0, 1.0), "compressed": 1.0, "jpeg": (40, 40)}
    config = configure(small_photos, tmp_path, method="cleaner", scale=1, damage=damage)
    (path, *_) = Photos(config.photos).train
    weights = read_example(path, config, np.random.default_rng(0)).weights
    assert weights[:3] == (0.5, 0.5, 0.0)
    noisy = {"originals": (1.0, 1.0), "noisy": 1.0, "noise": (20, 20)}
    config = configure(small_photos, tmp_path, method="cleaner", scale=1, damage=noisy)
    weights = read_example(path, config, np.random.default_rng(0)).weights
    assert weights[:3] == (0.0, 0.0, 0.0)
    assert weights[3] > 0.5


def test_the_model_is_written_with_its_card(small_photos: Path, tmp_path: Path) -> None:
    """Training writes int8 tables that the service reads, and lists the photographs."""
    config = configure(small_photos, tmp_path)
    card = train(config)
    restorer = read_restorer(tmp_path / "store" / "tiny" / "1")
    assert (card.task, card.scale, card.bytes) == ("upscale", 2, 3 * 5**4 * (1 + 4))
    assert card.training["steps"] == 6
    assert len(card.training["photos"]) == len(Photos(config.photos).train)
    assert restorer.model.run(random_maps()[0]).shape == (1, 24, 24)
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["3", "6"]


def test_a_run_continues(small_photos: Path, tmp_path: Path) -> None:
    """A complete run is not trained again; an interrupted one goes on from its checkpoint."""
    config = configure(small_photos, tmp_path, method="cleaner", scale=1)
    train(config)
    again = RestorationTrainer(config)
    assert again.restore(tmp_path / "run" / "checkpoint.npz") == 6
    longer = configure(
        small_photos,
        tmp_path,
        method="cleaner",
        scale=1,
        phases=[*config.phases, {"grids": (32, 64), "steps": 3, "rate": 1.0}],
    )
    card = train(longer)
    assert card.version == 2
    model = read_restorer(tmp_path / "store" / "tiny" / "2").model
    assert isinstance(model, Cleaner)
    assert set(model.tables) == set(KNOTS)
    assert model.for_damage(Damage(30, 0)) is not None
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["3", "6", "9"]


@pytest.mark.parametrize("recipe", RECIPES, ids=[path.stem for path in RECIPES])
def test_each_embedded_model_has_its_recipe(recipe: Path) -> None:
    """The card of an embedded model holds the recipe beside the trainer."""
    from app.policies import STORE

    config = read_config(recipe, RestorationConfig)
    assert config.name == recipe.stem
    card = read_restorers(STORE).get(config.name).card
    kept = config.model_dump(
        mode="json", exclude={"run": True, "store": True, "photos": {"folder", "inventory"}}
    )
    assert card.training["recipe"] == kept


def test_photographs_without_a_free_licence_are_not_trained_on() -> None:
    """The cards of the embedded models list no photograph under other terms."""
    from app.policies import STORE

    for recipe in RECIPES:
        card = read_restorers(STORE).get(recipe.stem).card
        licences = {photo["licence"].lower() for photo in card.training["photos"]}
        assert len(card.training["photos"]) > 100
        for words in ("unsplash", "middlebury", "not stated"):
            assert not any(words in licence for licence in licences)


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    """A recipe that cannot be is a message, not a traceback."""
    path = tmp_path / "bad.toml"
    path.write_text('name = "a"\nscale = 0')
    with pytest.raises(BadParameter, match="licence: Field required"):
        read_config(path, RestorationConfig)
    result = CliRunner().invoke(create_cli(), ["restoration", "train", str(path)])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
