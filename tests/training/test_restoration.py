"""Training of spatial LUTs: slopes, rounding, checkpoints, and the model that is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import app.training
from app.cli.main import create_cli
from app.errors import BadParameter
from app.restoration.damage import KNOTS, Damage
from app.restoration.engine import chain
from app.restoration.methods.cleaner import Cleaner
from app.restoration.store import read_restorer, read_restorers
from app.training.config import read_config
from app.training.data import Photos
from app.training.restoration.config import RestorationConfig
from app.training.restoration.patches import Patches, batches, make_groups, read_example
from app.training.restoration.stages import TrainedStage
from app.training.restoration.trainer import RestorationTrainer, train

RECIPES = sorted((Path(app.training.__file__).parent / "recipes" / "restoration").glob("*.toml"))


def configure(photos: Path, folder: Path, **options: object) -> RestorationConfig:
    """Make a recipe for the small photographs, all of whose tables are coarse."""
    defaults = {
        "name": "tiny",
        "licence": "CC0-1.0",
        "task": "upscale",
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


def random_stage(patterns: str, scale: int, sets: int = 1, step: int = 64) -> TrainedStage:
    """Return a stage whose tables have no order."""
    stage = TrainedStage(patterns, 8.0, scale, step, sets)
    stage.tables[:] = np.random.default_rng(0).uniform(-30, 30, stage.tables.shape)
    return stage


def random_maps(side: int = 12, count: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    """Return images without order."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side)).astype(np.uint8)


@pytest.mark.parametrize("step", [16, 32, 64])
@pytest.mark.parametrize(("patterns", "scale"), [("s", 1), ("sdy", 1), ("sdy", 2), ("dy", 4)])
def test_the_forward_pass_is_the_engine(patterns: str, scale: int, step: int) -> None:
    """What is trained is what the service computes, away from the border."""
    stage = random_stage(patterns, scale, step=step)
    maps = random_maps()
    reach = stage.reach
    out = stage.forward(maps, stage.blend([1.0]))
    found = np.rint(out.clip(0, 255)).astype(np.uint8)
    expected = chain([stage.to_stage([1.0])]).run(maps)[0]
    inner = expected[scale * reach : -scale * reach, scale * reach : -scale * reach]
    blocks = inner.reshape(found.shape[1], scale, found.shape[2], scale).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(found[0], blocks.reshape(*found.shape[1:]))


def test_tables_are_blended_and_rounded() -> None:
    """The sets are rounded to int8, weighted, and the sum is rounded and clamped."""
    stage = random_stage("s", 1, sets=2)
    stage.tables[:, 0, 0, 0] = [3.6, -7.4]
    stage.tables[:, 0, 1, 0] = [120.0, 120.0]
    found = stage.blend([0.5, 1.0])
    assert found[0, 0, 0] == -5.0  # 0.5 * 4 - 7
    assert found[0, 1, 0] == 127.0
    assert stage.to_stage([0.5, 1.0]).groups[0].table[1, 0] == 127


def test_the_slopes_of_the_tables_are_those_of_the_sum() -> None:
    """The output is linear in the entries: its change is the sum of slopes and changes."""
    stage = random_stage("sdy", 2, sets=2)
    maps, weights = random_maps(count=2), (0.25, 0.75)
    rng = np.random.default_rng(1)
    tables = stage.blend(weights)
    before = stage.forward(maps, tables)
    slopes = rng.normal(size=before.shape).astype(np.float32)
    stage.backward(maps, tables, weights, slopes, passes_on=False)
    change = rng.integers(-4, 5, stage.tables.shape).astype(np.float32)
    mixed = np.tensordot(weights, change, 1).astype(np.float32)
    after = stage.forward(maps, tables + mixed)
    found = float((stage._slopes * change).sum())
    assert found == pytest.approx(float(((after - before) * slopes).sum()), rel=1e-3)


def test_the_slopes_of_the_maps_are_those_of_the_simplex() -> None:
    """Within a simplex the output is linear in the pixels; rounding does not stop the slopes."""
    stage = random_stage("sdy", 1)
    # Levels between those of the grid, all different by more than one: a step stays in the simplex.
    order = np.random.default_rng(0).permutation(81).reshape(1, 9, 9)
    maps = (order % 20 * 3 + 2 + 64 * (order // 20 % 3)).astype(np.uint8)
    tables = stage.blend([1.0])
    slopes = np.ones_like(stage.forward(maps, tables))
    found = stage.backward(maps, tables, [1.0], slopes, passes_on=True)
    assert found is not None
    for y, x in ((4, 4), (3, 5), (2, 2), (0, 8)):
        higher, lower = maps.copy(), maps.copy()
        higher[0, y, x] += 1
        lower[0, y, x] -= 1
        difference = stage.forward(higher, tables).sum() - stage.forward(lower, tables).sum()
        ties = np.abs(maps.astype(int) % 64 - int(maps[0, y, x]) % 64) == 0
        if ties.sum() == 1:
            assert found[0, y, x] == pytest.approx(difference / 2, abs=0.02)


def test_refining_keeps_the_entries() -> None:
    """A finer grid has the coarse entries, and means between them."""
    stage = random_stage("s", 1, sets=2)
    coarse = stage.tables.reshape(2, 5, 5, 5, 5)
    stage.refine(32)
    fine = stage.tables.reshape(2, 9, 9, 9, 9)
    np.testing.assert_array_equal(fine[:, ::2, ::2, ::2, ::2], coarse)
    middle = (coarse[:, 0, 1, 2, 3] + coarse[:, 1, 1, 2, 3]) / 2
    np.testing.assert_allclose(fine[:, 1, 2, 4, 6], middle, rtol=1e-6)


def test_a_linear_filter_is_found(small_photos: Path, tmp_path: Path) -> None:
    """Given inputs and their mean with the right neighbour, least squares finds the weights."""
    trainer = RestorationTrainer(configure(small_photos, tmp_path, scale=1, patterns=("s", "s")))
    margin, rng = trainer.margin, np.random.default_rng(0)
    inputs = rng.integers(0, 256, (20, 8 + 2 * margin, 8 + 2 * margin)).astype(np.uint8)
    inner = inputs[:, margin:-margin, margin:-margin].astype(float)
    around = sum(np.roll(inputs.astype(float), shift, axis) for shift in (1, -1) for axis in (1, 2))
    targets = 0.8 * inner + 0.05 * around[:, margin:-margin, margin:-margin]
    patches = Patches(inputs, np.rint(targets).astype(np.uint8), (1.0,))
    before = trainer.propagate(patches)
    trainer.stages[-1].fit_linear([patches])
    assert trainer.propagate(patches) < 0.01 * before


@pytest.mark.parametrize("task", ["upscale", "clean"])
def test_steps_reduce_the_error(small_photos: Path, tmp_path: Path, task: str) -> None:
    """Some steps on one batch make the error smaller, in each kind of model."""
    damage = {"originals": (1.0, 1.0), "compressed": 1.0, "jpeg": (30, 60), "luma": True}
    scale = 2 if task == "upscale" else 1
    config = configure(small_photos, tmp_path, task=task, scale=scale, damage=damage)
    trainer, rng = RestorationTrainer(config), np.random.default_rng(0)
    photos = Photos(config.photos).train
    trainer.initialise(photos, rng)
    batch = next(batches(photos, config, trainer.margin, rng))
    errors = [trainer.step(batch, 2.0) for _ in range(15)]
    assert errors[-1] < 0.97 * errors[0]


def test_patches_belong_to_their_targets(small_photos: Path, tmp_path: Path) -> None:
    """Without damage, an input of scale 1 is its target with a margin around."""
    config = configure(small_photos, tmp_path, scale=1)
    groups = make_groups(Photos(config.photos).train, config, 3, np.random.default_rng(0))
    assert {group.inputs.shape for group in groups} == {(4, 14, 14)}
    for group in groups:
        np.testing.assert_array_equal(group.inputs[:, 3:-3, 3:-3], group.targets)


def test_cleaning_is_conditioned_on_what_the_service_measures(
    small_photos: Path, tmp_path: Path
) -> None:
    """An example has the weights of its quality and of the noise that is estimated in it."""
    damage = {"originals": (1.0, 1.0), "compressed": 1.0, "jpeg": (40, 40)}
    config = configure(small_photos, tmp_path, task="clean", scale=1, damage=damage)
    (path, *_) = Photos(config.photos).train
    weights = read_example(path, config, np.random.default_rng(0)).weights
    assert weights[:3] == (0.5, 0.5, 0.0)
    noisy = {"originals": (1.0, 1.0), "noisy": 1.0, "noise": (20, 20)}
    config = configure(small_photos, tmp_path, task="clean", scale=1, damage=noisy)
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
    assert restorer.model.run(random_maps()).shape == (1, 24, 24)
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["3", "6"]


def test_a_run_continues(small_photos: Path, tmp_path: Path) -> None:
    """A complete run is not trained again; an interrupted one goes on from its checkpoint."""
    config = configure(small_photos, tmp_path, task="clean", scale=1)
    train(config)
    again = RestorationTrainer(config)
    assert again.restore(tmp_path / "run" / "checkpoint.npz") == 6
    longer = configure(
        small_photos,
        tmp_path,
        task="clean",
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
