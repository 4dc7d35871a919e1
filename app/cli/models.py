"""The model store: list, show, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.cli.complaints import complaints
from app.networks.architectures import import_published
from app.networks.base import ThumbnailRecipe
from app.networks.store import Catalogue, read_catalogue, write_model
from app.settings import Settings

cli = typer.Typer(no_args_is_help=True, help="The model store.")


@cli.command("list")
def list_models() -> None:
    """List the models of the store."""
    with complaints():
        catalogue = _catalogue()
    table = Table("model", "architecture", "parameters", "LUT", "licence", "fingerprint", box=None)
    for model in catalogue.models:
        card = model.card
        size = f"{card.lut_size}³"
        row = (card.label, card.architecture, f"{card.parameters:,}", size, card.licence)
        table.add_row(*row, card.fingerprint.hex())
    Console().print(table)


@cli.command()
def show(name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")]) -> None:
    """Print a model's card."""
    with complaints():
        typer.echo(_catalogue().named(name).card.model_dump_json(indent=2))


@cli.command("import")
def import_model(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Published checkpoints.")],
    name: Annotated[str, typer.Option(help="The model's name in the store.")],
    licence: Annotated[str, typer.Option(help="The licence of the weights.")] = "not stated",
    source: Annotated[str, typer.Option(help="Where they come from, and whom to credit.")] = "",
) -> None:
    """Import weights as their authors published them (CLUT-Net, LUT-3, AdaInt, SepLUT)."""
    with complaints():
        card = write_model(
            Settings.from_environment().models.store,
            import_published(files),
            name=name,
            licence=licence,
            source=source or f"imported from {', '.join(file.name for file in files)}",
            thumbnail=ThumbnailRecipe(),  # all of them were trained on this one
        )
    typer.echo(f"{card.label}: {card.architecture}, {card.parameters:,} parameters")


def _catalogue() -> Catalogue:
    policy = Settings.from_environment().models
    return read_catalogue(policy.store, policy.default)
