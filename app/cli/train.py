"""Training and evaluation. The pipeline is an extra, imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.errors import exit_on_error
from app.networks.store import ModelCard, ModelRegistry, read_store
from app.settings import Settings

if TYPE_CHECKING:
    from app.training.ensemble import Ensemble
    from app.training.scores import Score
    from app.training.survey import Survey

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="See app/training/recipes.")]
Models = Annotated[
    list[str], typer.Argument(metavar="MODEL...", help="Several answer by their mean.")
]


def train(recipe: Recipe) -> None:
    """Train a CLUT-Net on pairs of photographs, into the model store."""
    with _pipeline():
        from app.training.config import read_config
        from app.training.train import TrainConfig
        from app.training.train import train as run

        _announce(run(read_config(recipe, TrainConfig)))


def distil(recipe: Recipe) -> None:
    """Train a CLUT-Net to answer as other models do, on photographs alone."""
    with _pipeline():
        from app.training.config import read_config
        from app.training.distil import DistilConfig
        from app.training.distil import distil as run

        _announce(run(read_config(recipe, DistilConfig)))


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.")],
    store: Annotated[Path | None, typer.Option(help="Instead of CLUT_MODELS_STORE.")] = None,
) -> None:
    """Put a run's latest checkpoint into the model store; the run may go on."""
    with _pipeline():
        from app.training.export import export as write

        _announce(write(run, store or Settings.from_environment().models.store))


def evaluate(
    names: Models,
    data: Annotated[Path, typer.Option(help="Folder of pairs: NAME-input, NAME-target.")],
    sheet: Annotated[
        Path | None, typer.Option(help="A contact sheet: input, output, target.")
    ] = None,
) -> None:
    """Compare a model's answers with an expert's: PSNR, SSIM, dE76, dE2000."""
    with _pipeline():
        from app.training.evaluate import evaluate as run

        report = run(_ensemble(names), data, sheet)
    _print({**report.scores, "mean": report.mean})


def survey(
    names: Models,
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")],
    inventory: Annotated[
        Path | None, typer.Option(help="Its inventory: only the good photographs that it lists.")
    ] = None,
) -> None:
    """Look for bands, new clipping, casts and whims on photographs that nobody retouched."""
    with _pipeline():
        from app.training.photos import good_photos
        from app.training.survey import summary
        from app.training.survey import survey as run

        found = run(_ensemble(names), good_photos(photos, inventory))
    _print({f"{len(found)} photographs": summary(found.values())})


def compare(
    recipe: Recipe,
    photos: Annotated[
        Path | None, typer.Option(help="Instead of the recipe's, with their inventory.")
    ] = None,
    teachers: Annotated[Path | None, typer.Option(help="Another model store of theirs.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Another folder of pairs.")] = None,
) -> None:
    """Train ways to compress LUTs alike, and write a table and a plot."""
    with _pipeline():
        from app.training.compare import compare as run
        from app.training.config import read_config
        from app.training.variants import CompareConfig

        config = read_config(recipe, CompareConfig).with_data(photos, teachers, pairs)
        run(config)
    typer.echo(config.report.read_text(encoding="utf-8"))


@contextmanager
def _pipeline() -> Iterator[None]:
    with exit_on_error():
        try:
            yield
        except ImportError as error:
            raise RuntimeError(f"{error}; install the extra `training`") from error


def _ensemble(names: list[str]) -> Ensemble:
    from app.training.ensemble import Ensemble

    policy = Settings.from_environment().models
    catalogue = ModelRegistry(read_store(policy.store), policy.default)
    return Ensemble([catalogue.get(name) for name in names])


def _print(rows: Mapping[str, Score | Survey]) -> None:
    for name, row in rows.items():
        figures = "  ".join(f"{key} {value:.3f}" for key, value in row._asdict().items())
        typer.echo(f"{name}  {figures}")


def _announce(card: ModelCard) -> None:
    typer.echo(f"{card.model_ref}: {card.training.get('figures')}")
