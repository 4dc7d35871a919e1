"""Training and evaluation. Needs the extra `training`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import exit_on_error
from app.networks.store import ModelCard, ModelRegistry, read_store, write_figures
from app.settings import Settings
from app.training import ablation_report, evaluation
from app.training import distil as distillation
from app.training import train as training
from app.training.ablation import AblationConfig
from app.training.config import read_config
from app.training.data import good_photos, spread
from app.training.ensemble import Ensemble
from app.training.evaluation import ArtifactMetrics, Recovery, Score, measure_artifacts, summarize
from app.training.figures import draw_figures
from app.training.gate import GateConfig, fit_gate
from app.training.restoration import trainer
from app.training.restoration.config import RestorationConfig
from app.training.trainer import export as write_latest

_MOST_PHOTOS = 200

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="See app/training/recipes.")]
Models = Annotated[
    list[str], typer.Argument(metavar="MODEL...", help="The output of several models is averaged.")
]
Photos = Annotated[Path, typer.Option(help="Folder of photos.")]
Inventory = Annotated[
    Path | None,
    typer.Option(help="Inventory of the folder; measures the good photos that it lists."),
]
HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Only the photos that `distil` holds out.")
]


def train(recipe: Recipe) -> None:
    """Train a network on pairs of photos.

    The trained network is added to the model store.
    """
    with exit_on_error():
        _announce(training.train(read_config(recipe, training.TrainConfig)))


def distil(recipe: Recipe) -> None:
    """Train a network on photos alone.

    It learns to undo damage and to reproduce other models.
    """
    with exit_on_error():
        config = read_config(recipe, distillation.DistilConfig)
        _announce(distillation.distil(config))


def gate(recipe: Recipe) -> None:
    """Join a global and a local model by a gate between them."""
    with exit_on_error():
        _announce(fit_gate(read_config(recipe, GateConfig)))


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.")],
    store: Annotated[Path | None, typer.Option(help="Instead of CLUT_MODELS_STORE.")] = None,
) -> None:
    """Add the latest checkpoint of a run to the model store.

    The run may go on meanwhile.
    """
    with exit_on_error():
        _announce(write_latest(run, store or Settings.from_environment().models.store))


def evaluate(
    names: Models,
    data: Annotated[Path, typer.Option(help="Folder of pairs: NAME-input, NAME-target.")],
    sheet: Annotated[
        Path | None, typer.Option(help="A contact sheet: input, output, target.")
    ] = None,
) -> None:
    """Compare the output of a model with an expert's.

    Prints PSNR, SSIM, dE76 and dE2000 of each pair, and their means.
    """
    with exit_on_error():
        report = evaluation.evaluate(_ensemble(names), data, sheet)
    _print({**report.scores, "mean": report.mean})


def survey(names: Models, photos: Photos, inventory: Inventory = None) -> None:
    """Measure artifacts on photos as they are.

    Prints banding, new clipping, colour casts and instability.
    """
    with exit_on_error():
        found = measure_artifacts(_ensemble(names), good_photos(photos, inventory))
    _print({f"{len(found)} photos": summarize(found.values())})


def recover(
    names: Models,
    photos: Photos,
    inventory: Inventory = None,
    held_out: HeldOut = False,
) -> None:
    """Measure how much of known damage is left.

    Prints the mean dE76 to the original photos before and after, for each of ten kinds of damage.
    """
    with exit_on_error():
        files = good_photos(photos, inventory, held_out=held_out)
        table = evaluation.recover(_ensemble(names), files)
    typer.echo(f"{len(files)} photos")
    _print({f"{name:22}": row for name, row in table.items()})


def measure(
    name: Annotated[str, typer.Argument(metavar="MODEL")],
    data: Annotated[Path, typer.Option(help="Folder of pairs: NAME-input, NAME-target.")],
    photos: Photos,
    inventory: Inventory = None,
    held_out: HeldOut = False,
) -> None:
    """Measure a model, and write the figures into its card.

    Runs `evaluate`, `survey` and `recover`; --held-out is for `recover` alone.
    """
    with exit_on_error():
        model = _registry().get(name)
        ensemble = Ensemble([model])
        files = good_photos(photos, inventory)
        recovered = evaluation.recover(ensemble, good_photos(photos, inventory, held_out=held_out))
        figures = {
            "expert": evaluation.evaluate(ensemble, data).mean._asdict(),
            "artifacts": summarize(measure_artifacts(ensemble, files).values())._asdict(),
            "recover": {kind: row.after for kind, row in recovered.items()},
        }
        rounded = {
            part: {key: round(value, 3) for key, value in values.items()}
            for part, values in figures.items()
        }
        store = Settings.from_environment().models.store
        write_figures(store, model.card, rounded)
    for part, values in rounded.items():
        typer.echo(f"{part}  " + "  ".join(f"{key} {value}" for key, value in values.items()))


def compare(
    recipe: Recipe,
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of photos with an inventory, instead of the recipe's."),
    ] = None,
    teachers: Annotated[
        Path | None, typer.Option(help="Model store with the teachers, instead of the recipe's.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Folder of pairs, instead of the recipe's.")
    ] = None,
) -> None:
    """Train networks alike, and write a table and a plot."""
    with exit_on_error():
        config = read_config(recipe, AblationConfig).with_data(photos, teachers, pairs)
        ablation_report.compare(config)
    typer.echo(config.report.read_text(encoding="utf-8"))


def figures(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A CLUT-Net.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the figures.")],
    photos: Photos,
    inventory: Inventory = None,
) -> None:
    """Draw the basis LUTs of a model.

    They show its effects, and its weights for up to 200 photos; docs/method.md explains them.
    """
    with exit_on_error():
        model = _registry().get(name)
        files = spread(good_photos(photos, inventory), _MOST_PHOTOS)
        written = draw_figures(model, files, output)
    typer.echo("\n".join(map(str, written)))


def _registry() -> ModelRegistry:
    policy = Settings.from_environment().models
    return ModelRegistry(read_store(policy.store), policy.default)


def _ensemble(names: list[str]) -> Ensemble:
    registry = _registry()
    return Ensemble([registry.get(name) for name in names])


def train_restoration(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE.toml", help="See app/training/recipes/restoration.")
    ],
) -> None:
    """Train spatial LUTs on photos, to enlarge or to clean.

    The model is added to the model store. Run it again to continue after an interruption.
    """
    with exit_on_error():
        card = trainer.train(read_config(recipe, RestorationConfig))
        typer.echo(f"{card.model_ref}: {card.bytes:,} bytes")


def _print(rows: Mapping[str, ArtifactMetrics | Recovery | Score]) -> None:
    for name, row in rows.items():
        figures = "  ".join(f"{key} {value:.3f}" for key, value in row._asdict().items())
        typer.echo(f"{name}  {figures}")


def _announce(card: ModelCard) -> None:
    typer.echo(f"{card.model_ref}: {card.training.get('figures')}")
