"""Progress of a command, on the standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

CLEAR_LINE = "\r\x1b[K"


class ProgressBar:
    """A bar with lines of text above it; without a terminal, the lines alone."""

    def __init__(self, step: Callable[[int], None] | None) -> None:
        self._step = step

    def advance(self) -> None:
        """Move the bar by one file."""
        if self._step is not None:
            self._step(1)

    def say(self, line: str) -> None:
        """Write a line; the bar is drawn again below it when it next moves."""
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
