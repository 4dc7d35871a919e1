"""The settings, as a table."""

from __future__ import annotations

import typer

from app.settings import Settings


def settings() -> None:
    """Print every setting as a Markdown table.

    The columns are the environment variable, its default and its effect.
    """
    for variable, default, description in Settings.variables():
        typer.echo(f"| `{variable}` | `{default}` | {description} |")
