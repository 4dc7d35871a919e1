"""The command `video`: a video from file to file, with a look for each scene."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from app.cli.console import exit_on_error, with_options
from app.settings import Settings
from app.video.enhance import enhance_video
from app.video.options import VideoOptions

LABELS = {"analyse": "finding scenes", "enhance": "enhancing", "join": "joining parts"}


@with_options(VideoOptions)
def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video.")],
    options: VideoOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A video; the suffix sets the container.")
    ] = None,
    cube: Annotated[
        Path | None,
        typer.Option(help="Folder for a .cube file of each scene and scenes.edl, for editors."),
    ] = None,
) -> None:
    """Enhance a video, with a look for each scene.

    Scenes are divided at cuts. Within a scene the look follows the picture smoothly; at a cut it
    changes at once. Audio, subtitles, chapters, rotation and metadata are copied. HDR is rejected.
    """
    if output is None and cube is None:
        raise typer.BadParameter("give --output, --cube or both")
    if output is None and options.resume:
        raise typer.BadParameter("--resume needs --output")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no half file stays
    try:
        with exit_on_error(), _progress() as bars:
            settings = Settings.from_environment()
            notes = enhance_video(source, output, options, settings, bars.report, cube)
    except KeyboardInterrupt:
        if options.resume:
            typer.echo(f"clut-enhance: the same command resumes from {output}.parts", err=True)
        raise
    for note in notes:
        typer.echo(f"{output}: {note}", err=True)


class _Bars:
    """A progress bar for each stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def report(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(LABELS[stage], total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return the speed of a stage."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed or 0:.1f} fps")


@contextmanager
def _progress() -> Iterator[_Bars]:
    """Show progress bars on the standard error, if it is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _FramesPerSecond(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Bars(progress)
