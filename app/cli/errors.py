"""Failures as lines on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError

from app.errors import Problem
from app.settings import PREFIX, Settings


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Ends the program with one clear line for each thing that is wrong."""
    try:
        yield
    except (Problem, OSError) as error:
        lines = [reason(error)]
    except ValidationError as error:
        lines = [f"{_location(error, item['loc'])}: {item['msg']}" for item in error.errors()]
    except (ValueError, RuntimeError) as error:
        lines = [str(error)]
    else:
        return
    for line in lines:
        typer.echo(f"clut-enhance: {line}", err=True)
    raise typer.Exit(code=1)


def reason(error: Problem | OSError) -> str:
    """What went wrong, in a line."""
    if isinstance(error, Problem):
        return f"{error.title}: {error.detail}"
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def _location(error: ValidationError, location: tuple[int | str, ...]) -> str:
    """A setting is known by its variable, a line of a file by its path in it."""
    if error.title == Settings.__name__:
        return PREFIX + "_".join(map(str, location)).upper()
    return ".".join(map(str, location))
