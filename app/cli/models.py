"""The model store: list, show, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.cli.errors import exit_on_error
from app.networks.base import ThumbnailRecipe
from app.networks.registry import import_checkpoint
from app.networks.store import ModelRegistry, read_registry, write_model
from app.settings import Settings

cli = typer.Typer(no_args_is_help=True, help="The model store.")


@cli.command("list")
def list_models() -> None:
    """List the models of the store."""
    with exit_on_error():
        catalogue = _catalogue()
    table = Table("model", "architecture", "parameters", "LUT", "licence", "fingerprint", box=None)
    for model in catalogue.models:
        card = model.card
        size = f"{card.lut_size}³"
        row = (card.model_ref, card.architecture, f"{card.parameters:,}", size, card.licence)
        table.add_row(*row, card.fingerprint.hex())
    Console().print(table)


@cli.command()
def show(name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")]) -> None:
    """Print a model's card."""
    with exit_on_error():
        typer.echo(_catalogue().get(name).card.model_dump_json(indent=2))


@cli.command("import")
def import_model(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Published checkpoints.")],
    name: Annotated[str, typer.Option(help="The model's name in the store.")],
    licence: Annotated[str, typer.Option(help="The licence of the weights.")] = "not stated",
    source: Annotated[str, typer.Option(help="Where they come from, and whom to credit.")] = "",
) -> None:
    """Import weights as published: CLUT-Net, LUT-3, AdaInt, SepLUT, SVDLUT, LUTwithBGrid."""
    with exit_on_error():
        card = write_model(
            Settings.from_environment().models.store,
            import_checkpoint(files),
            name=name,
            licence=licence,
            source=source or f"imported from {', '.join(file.name for file in files)}",
            thumbnail=ThumbnailRecipe(),  # all of them were trained on this one
        )
    typer.echo(f"{card.model_ref}: {card.architecture}, {card.parameters:,} parameters")


def _catalogue() -> ModelRegistry:
    policy = Settings.from_environment().models
    return read_registry(policy.store, policy.default)
