"""The commands `settings` and `keys`: the settings as a table; make, list and revoke API keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.access import Scope, dump_keys, new_key, read_keys, write_keys
from app.cli.console import exit_on_error
from app.settings import Settings

keys = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Make, list and revoke API keys.",
)

Name = Annotated[str, typer.Argument(help="The holder of the key, for logs and quotas.")]
Keys = Annotated[Path, typer.Option("--file", help="The file that CLUT_AUTH_FILE names.")]


def settings() -> None:
    """Print every setting as a Markdown table.

    The columns are the environment variable, its default and its effect.
    """
    for variable, default, description in Settings.variables():
        typer.echo(f"| `{variable}` | `{default}` | {description} |")


@keys.command()
def new(
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="A permission of the key; may be repeated.")],
    file: Annotated[
        Path | None, typer.Option(help="Add the key to this file; otherwise its entry is printed.")
    ] = None,
) -> None:
    """Make a key, print it once and store its hash."""
    with exit_on_error():
        secret, key = new_key(name, frozenset(scope))
        if file is not None:
            known = read_keys(file) if file.exists() else []
            if name in {other.name for other in known}:
                raise ValueError(f"{file}: a key called {name!r} exists already")
            write_keys(file, [*known, key])
    typer.echo(secret)
    if file is None:
        typer.echo(dump_keys([key]), err=True)


@keys.command("list")
def list_keys(file: Keys) -> None:
    """List the keys of a file."""
    with exit_on_error():
        for key in read_keys(file):
            typer.echo(f"{key.name}\t{','.join(sorted(key.scopes))}")


@keys.command()
def revoke(name: Name, file: Keys) -> None:
    """Remove a key from a file; a running server rejects it at once."""
    with exit_on_error():
        known = read_keys(file)
        kept = [key for key in known if key.name != name]
        if len(kept) == len(known):
            raise ValueError(f"{file}: no key is called {name!r}")
        write_keys(file, kept)
