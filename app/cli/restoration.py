"""Training and measurement of restoration models. Needs the extra `training`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import exit_on_error
from app.training.config import read_config
from app.training.restoration import trainer
from app.training.restoration.config import RestorationConfig


def train(
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
