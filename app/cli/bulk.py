"""The command `bulk`: a folder or a bucket of images."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from loky import cpu_count

from app.bulk import executors
from app.bulk.executors import run_in_processes
from app.bulk.run import Executor, Job, Runner, Status
from app.cli.console import exit_on_error, progress, with_options
from app.networks.store import read_registry
from app.serving.options import EnhanceOptions
from app.settings import Settings


class Engine(StrEnum):
    """Where the work is done."""

    AUTO = "auto"
    LOCAL = "local"
    RAY = "ray"


@with_options(EnhanceOptions)
def bulk(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Folder of images, or s3://bucket/folder.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="DST", help="Folder for the enhanced images, likewise.")
    ],
    options: EnhanceOptions,
    engine: Annotated[
        Engine, typer.Option(help="auto: the Ray cluster if one runs, else this machine (local).")
    ] = Engine.AUTO,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes of the engine local; default: all cores.")
    ] = None,
    retry: Annotated[bool, typer.Option(help="Try files again that failed before.")] = False,
) -> None:
    """Enhance a folder of images; run it again to resume it.

    DST/manifest.jsonl has a line for each file: done, failed or skipped, and the reason. Videos
    are enhanced as by `video` (extra `video`), with the model, the strength and the look; other
    files that are not images are skipped. Exits with 1 if any file failed.
    """
    with exit_on_error():
        if options.look is None:  # a look token determines its model
            options = options.model_copy(update={"model": _resolve_model(options.model)})
        job = Job(_absolute(source), _absolute(target), options)
        runner = Runner(job, retry=retry)
        if runner.left:
            _execute(runner, _executor(engine, processes))
    counts = ", ".join(f"{runner.manifest.count(status)} {status}" for status in Status)
    typer.echo(f"{len(runner.names)} files: {counts}")
    if runner.manifest.count(Status.FAILED):
        raise typer.Exit(code=1)


def _execute(runner: Runner, executor: Executor) -> None:
    with progress(len(runner.names), len(runner.names) - len(runner.left)) as bar:
        for result in runner.execute(executor):
            if result.reason is not None:
                bar.write_line(f"{result.source}: {result.status}: {result.reason}")
            bar.advance()


def _executor(engine: Engine, processes: int | None) -> Executor:
    if engine is Engine.RAY or (engine is Engine.AUTO and executors.is_available()):
        return executors.run_on_ray
    return partial(run_in_processes, processes or cpu_count())


def _absolute(folder: str) -> str:
    """Return a path that every process understands; a URI as it is."""
    return folder if "://" in folder else str(Path(folder).resolve())


def _resolve_model(model: str | None) -> str:
    """Return NAME@VERSION, so that a resumed run uses the model that it began with."""
    policy = Settings.from_environment().models
    return read_registry(policy.store, policy.default).get(model).card.model_ref
