"""The model store: list, show, import, export and copy models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from app.cli.console import exit_on_error
from app.imaging.resize import make_thumbnail
from app.networks import import_checkpoint
from app.networks.base import ThumbnailRecipe
from app.networks.store import ModelRegistry, read_registry, write_model
from app.restoration.methods import import_tables
from app.restoration.store import Restorers, read_restorers, write_restorer
from app.settings import Settings
from app.training.data import photo_files, read_photo, spread
from app.training.onnx_export import OPSET, OnnxNetwork, Precision, compare, export_onnx

_MOST_PHOTOS = 64
_LOOK_HEADS = ("model", "architecture", "parameters", "LUT", "fingerprint", "licence")
_RESTORATION_HEADS = ("restoration model", "method", "scale", "bytes", "licence")

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, show, import, export and copy models.",
)


@cli.command("list")
def list_models() -> None:
    """List the models of the store: of looks, then of restoration."""
    with exit_on_error():
        cards = [model.card for model in _read_registry().models]
        restorers = [restorer.card for restorer in _read_restorers().all]
    rows: list[tuple[str, ...]] = [_LOOK_HEADS]
    for card in cards:
        size = f"{card.lut_size}³"
        parameters = f"{card.parameters:,}"
        fingerprint = card.fingerprint.hex()
        row = (card.model_ref, card.architecture, parameters, size, fingerprint, card.licence)
        rows.append(row)
    _print_table(rows)
    if restorers:
        rows = [_RESTORATION_HEADS]
        for it in restorers:
            scale = "any" if it.scale is None else f"x{it.scale}"
            rows.append((it.model_ref, it.method, scale, f"{it.bytes:,}", it.licence))
        typer.echo()
        _print_table(rows)


@cli.command()
def show(name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")]) -> None:
    """Print the card of a model."""
    with exit_on_error():
        restorers = _read_restorers()
        found = restorers.get(name) if name in restorers else _read_registry().get(name)
        typer.echo(found.card.model_dump_json(indent=2))


@cli.command("import")
def import_model(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Published checkpoints.")],
    name: Annotated[str, typer.Option(help="The name of the model in the store.")],
    licence: Annotated[str, typer.Option(help="The licence of the weights.")] = "not stated",
    source: Annotated[str, typer.Option(help="Origin of the weights, and whom to credit.")] = "",
) -> None:
    """Import weights as published.

    Looks: CLUT-Net, LUT-3, AdaInt, SepLUT, SVDLUT, LUTwithBGrid. Enlargement: SR-LUT, MuLUT,
    SP-LUT, TinyLUT, LeRF-G; give all files of a model, under their published names.
    """
    store = Settings.from_environment().models.store
    source = source or f"imported from {', '.join(file.name for file in files)}"
    with exit_on_error():
        tables = import_tables(files)
        if tables is not None:
            restorer = write_restorer(store, tables, name=name, licence=licence, source=source)
            typer.echo(f"{restorer.model_ref}: {restorer.method}, {restorer.bytes:,} bytes")
            return
        card = write_model(
            store,
            import_checkpoint(files),
            name=name,
            licence=licence,
            source=source,
            thumbnail=ThumbnailRecipe(),  # of all these methods
        )
    typer.echo(f"{card.model_ref}: {card.architecture}, {card.parameters:,} parameters")


@cli.command()
def copy(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    to: Annotated[str, typer.Option(help="The name of the copy in the store.")],
) -> None:
    """Copy a model as the next version of another name, such as vivid to default."""
    with exit_on_error():
        model = _read_registry().get(name)
        card = write_model(
            Settings.from_environment().models.store,
            model.network,
            name=to,
            licence=model.card.licence,
            source=model.card.source,
            thumbnail=model.card.thumbnail,
            training=model.card.training,
        )
    typer.echo(f"{card.model_ref}: the weights of {model.card.model_ref}")


@cli.command("export")
def export_model(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION, of looks.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file, *.onnx.")],
    precision: Annotated[Precision, typer.Option(help="Of weights and sums.")] = "float32",
    photos: Annotated[
        Path | None,
        typer.Option(help="A folder of photographs to compare on; int8 takes its ranges from it."),
    ] = None,
) -> None:
    """Write a model of looks as ONNX: a thumbnail in, its LUT out, to run without this service.

    The graph has the standard operators of opset 18 alone. The file's metadata state how the
    thumbnail is made and the order of the table's axes.
    """
    with exit_on_error():
        model = _read_registry().get(name)
        thumbnails = [] if photos is None else _read_thumbnails(photos, model.card.thumbnail)
        file = export_onnx(model, precision, thumbnails)
        comparison = compare(model, OnnxNetwork(file), thumbnails) if thumbnails else None
        output.write_bytes(file)
    typer.echo(f"{model.card.model_ref}: {precision}, ONNX opset {OPSET}, {len(file):,} bytes")
    if comparison is not None:
        typer.echo(f"{len(thumbnails)} photographs: {comparison}")


def _read_thumbnails(folder: Path, recipe: ThumbnailRecipe) -> list[NDArray[np.float32]]:
    """Make thumbnails of the photographs of a folder, of at most 64 of them."""
    return [
        make_thumbnail(read_photo(file), recipe.size, recipe.antialias)
        for file in spread(photo_files(folder), _MOST_PHOTOS)
    ]


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _read_restorers() -> Restorers:
    return read_restorers(Settings.from_environment().models.store)


def _read_registry() -> ModelRegistry:
    policy = Settings.from_environment().models
    return read_registry(policy.store, policy.default)
