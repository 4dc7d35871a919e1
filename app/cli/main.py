"""The console script: the same engine, with or without HTTP."""

from __future__ import annotations

import typer

from app.cli import bulk, enhance, health, keys, models, serve, train

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Makes photographs look better with image-adaptive 3D LUTs.",
)
for command in (
    serve.serve,
    serve.settings,
    serve.compile_kernel,
    health.health,
    enhance.enhance,
    bulk.bulk,
    enhance.lut,
    train.train,
    train.distil,
    train.export,
    train.evaluate,
    train.survey,
    train.compare,
):
    cli.command()(command)
cli.add_typer(keys.cli, name="keys")
cli.add_typer(models.cli, name="models")


def main() -> None:
    """Run it."""
    cli()
