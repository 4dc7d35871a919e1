"""What commands write to the terminal: progress, and errors as one line each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError

from app.errors import Problem
from app.settings import PREFIX, Settings

CLEAR_LINE = "\r\x1b[K"


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program with status 1, and one line for each thing that is wrong."""
    try:
        yield
    except (Problem, OSError) as error:
        lines = [describe(error)]
    except ValidationError as error:
        lines = [f"{_locate(error, item['loc'])}: {item['msg']}" for item in error.errors()]
    except (ValueError, RuntimeError) as error:
        lines = [str(error)]
    else:
        return
    for line in lines:
        typer.echo(f"clut-enhance: {_printable(line)}", err=True)
    raise typer.Exit(code=1)


def describe(error: Problem | OSError) -> str:
    """Return what went wrong, as one line."""
    if isinstance(error, Problem):
        return f"{error.title}: {error.detail}"
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


class ProgressBar:
    """A bar with lines of text above it; without a terminal, the lines alone."""

    def __init__(self, step: Callable[[int], None] | None) -> None:
        self._step = step

    def advance(self) -> None:
        """Move the bar by one file."""
        if self._step is not None:
            self._step(1)

    def write_line(self, line: str) -> None:
        """Write a line; the bar is drawn again below it when it next moves."""
        line = _printable(line)
        typer.echo(line if self._step is None else CLEAR_LINE + line, err=True)


@contextmanager
def progress(total: int, done: int = 0) -> Iterator[ProgressBar]:
    """Show a bar of `total` files, of which `done` are complete, as long as the context lasts.

    There is no bar for a single file, nor where the standard error is no terminal.
    """
    if total == 1 or not sys.stderr.isatty():
        yield ProgressBar(None)
        return
    with typer.progressbar(length=total, file=sys.stderr, show_pos=True) as bar:
        bar.update(done)
        yield ProgressBar(bar.update)


def _printable(text: str) -> str:
    """Escape what would break a line or the terminal: file names may contain anything."""
    return "".join(it if it.isprintable() else ascii(it)[1:-1] for it in text)


def _locate(error: ValidationError, location: tuple[int | str, ...]) -> str:
    """Return the variable of a setting, or the path of a value in a file."""
    if error.title == Settings.__name__:
        return PREFIX + "_".join(map(str, location)).upper()
    return ".".join(map(str, location))
