"""The console script: the same engine, with or without HTTP."""

from __future__ import annotations

import typer

from app.cli import bulk, health, keys, models, photos, service, training

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Makes photographs look better with image-adaptive 3D LUTs.",
)
for command in (
    service.serve,
    service.settings,
    service.compile_kernel,
    health.health,
    photos.enhance,
    bulk.bulk,
    photos.lut,
    training.train,
    training.distil,
    training.export,
    training.evaluate,
    training.survey,
    training.compare,
):
    cli.command()(command)
cli.add_typer(keys.cli, name="keys")
cli.add_typer(models.cli, name="models")


def main() -> None:
    """Run it."""
    cli()
