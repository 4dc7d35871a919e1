"""The console script. A command is imported when it runs, since torch takes seconds to load."""

from __future__ import annotations

import signal
from functools import partial
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {  # name: (function or group, summary); the summary is the first line of its help
    "serve": ("serve.serve", "Serve over HTTP."),
    "settings": ("admin.settings", "Print every setting as a Markdown table."),
    "compile-kernel": ("serve.compile_kernel", "Compile the inner loops into NUMBA_CACHE_DIR."),
    "health": ("health.health", "Check that the service accepts requests."),
    "enhance": (
        "enhance.enhance",
        "Enhance images; the suffix of OUT sets the format.",
    ),
    "bulk": (
        "enhance.bulk",
        "Enhance a folder of images; run it again to resume it.",
    ),
    "video": ("video.video", "Enhance a video, with a look for each scene."),
    "lut": ("enhance.lut", "Write the LUT that is predicted for an image."),
    "lut convert": ("lut.convert", "Convert a LUT file; the suffixes set the formats."),
    "train": ("train.train", "Train a network on pairs of photos."),
    "distil": (
        "train.distil",
        "Train a network on photos alone.",
    ),
    "gate": ("train.gate", "Join a global and a local model by a gate between them."),
    "export": ("train.export", "Add the latest checkpoint of a run to the model store."),
    "evaluate": ("train.evaluate", "Compare the output of a model with an expert's."),
    "survey": ("train.survey", "Measure artifacts on photos as they are."),
    "recover": ("train.recover", "Measure how much of known damage is left."),
    "compare": ("train.compare", "Train networks alike, and write a table and a plot."),
    "figures": (
        "train.figures",
        "Draw the basis LUTs of a model.",
    ),
    "measure": ("train.measure", "Measure a model, and write the figures into its card."),
    "restoration train": (
        "train.train_restoration",
        "Train spatial LUTs on photos, to enlarge or to clean.",
    ),
    "keys": ("admin.keys", "Make, list and revoke API keys."),
    "models": ("models.cli", "List, show, import, export and copy models."),
}

# The extra whose packages a module imports.
EXTRAS = {"train": "training", "video": "video"}

# Plain text, without completion and with Python's own tracebacks, since rich is slow to load.
Typer = partial(
    typer.Typer, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


class LazyGroup(TyperGroup):
    """A group that lists its commands by their summaries and imports the command that runs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command's name, the imported command and the remaining arguments."""
        words = " ".join(args[:2])
        if words in COMMANDS:  # such as "lut convert", beside "lut"
            args = [words, *args[2:]]
        name, placeholder, remaining = super().resolve_command(ctx, args)
        return name, placeholder if name is None else load(name), remaining


def load(name: str) -> Any:
    """Import a command and return it as an object of typer's command line parser.

    Raises:
        typer.Exit: an extra of the package is not installed.
    """
    module, _, attribute = COMMANDS[name][0].partition(".")
    if name == "serve":  # SIGHUP reloads the models; it may arrive while they are imported
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = getattr(import_module(f"app.cli.{module}"), attribute)
    except ModuleNotFoundError as error:
        if module not in EXTRAS:
            raise
        extra = f"clut-enhance[{EXTRAS[module]}]"
        typer.echo(f"clut-enhance: {error}; pip install '{extra}'", err=True)
        raise typer.Exit(code=1) from error
    if not isinstance(command, typer.Typer):
        cli = Typer()
        cli.command()(command)
        command = cli
    return typer.main.get_command(command)


def create_cli() -> typer.Typer:
    """Return the program, with every command by its summary."""
    cli: typer.Typer = Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        help="Enhance images with image-adaptive 3D LUTs.",
    )
    for name, (_, summary) in COMMANDS.items():
        cli.command(name, help=summary)(_placeholder)
    return cli


def main() -> None:
    """Run the command that the arguments name."""
    create_cli()()


def _placeholder() -> None:
    """Stand for a command in the list of commands."""
