"""How far a command has come, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


class ProgressBar:
    """A bar of photographs, and lines above it; where nobody watches, the lines alone."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task("Photographs", total=total, completed=done)

    def advance(self) -> None:
        """One more has ended."""
        self._progress.advance(self._task)

    def say(self, line: str) -> None:
        """Writes a line."""
        self._progress.console.print(line, markup=False, soft_wrap=True)


@contextmanager
def progress(total: int, done: int = 0) -> Iterator[ProgressBar]:
    """Shows a bar for as long as the context lasts; none for a single photograph."""
    console = Console(stderr=True)
    with Progress(console=console, disable=total == 1 or not sys.stderr.isatty()) as bars:
        yield ProgressBar(bars, total, done)
