"""Training of spatial LUTs: patches, checkpoints, recipes, and the models that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import app.training
from app.cli.main import create_cli
from app.errors import BadParameter
from app.policies import STORE
from app.restoration.cleaning import KNOTS, Cleaner, Damage
from app.restoration.engine import Model
from app.restoration.layers import PATTERNS, Description, Layer, Lookup
from app.restoration.store import read_restorer, read_restorers
from app.training.config import read_config
from app.training.data import Photos
from app.training.restoration.config import RestorationConfig
from app.training.restoration.patches import Patches, batches, make_groups, read_example
from app.training.restoration.trainer import RestorationTrainer, fit_linear, train
from tests.helpers.restoration import UNPUBLISHED, random_maps, to_image

RECIPES = sorted((Path(app.training.__file__).parent / "recipes" / "restoration").glob("*.toml"))
EMBEDDED = ("clean", "clean-chroma", "upscale-2", "upscale-4")
TWO_STAGES = {"patterns": ["sdy", "sdy"], "denominators": [24.0, 8.0], "residual": True}


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
    damage = {"originals": (1.0, 1.0), "compressed": 1.0, "jpeg": (30, 60), "planes": "luma"}
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
    rng, layer = np.random.default_rng(0), Layer("one", (Lookup("d", PATTERNS["d"]),), 1)
    for channels, shape in ((1, (4, 1, 12, 12)), (3, (4, 3, 12, 12))):
        description = Description((layer,), channels)
        groups = make_groups(Photos(config.photos).train, config, description, rng)
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
def test_each_recipe_fits_its_method(recipe: Path) -> None:
    """It describes a model, and names the model as its file."""
    config = read_config(recipe, RestorationConfig)
    assert config.name == recipe.stem
    trainer = RestorationTrainer(config)
    for phase in config.phases:
        trainer.network.refine(phase.grids)


@pytest.mark.parametrize("name", EMBEDDED)
def test_each_embedded_model_has_its_recipe(name: str) -> None:
    """The card of an embedded model holds the recipe beside the trainer."""
    recipe = next(path for path in RECIPES if path.stem == name)
    kept = read_config(recipe, RestorationConfig).model_dump(
        mode="json", exclude={"run": True, "store": True, "photos": {"folder", "inventory"}}
    )
    assert read_restorers(STORE).get(name).card.training["recipe"] == kept


@pytest.mark.parametrize("name", EMBEDDED)
def test_photographs_without_a_free_licence_are_not_trained_on(name: str) -> None:
    """The cards of the embedded models list no photograph under other terms."""
    card = read_restorers(STORE).get(name).card
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
