"""A folder's photographs, in bulk."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from loky import cpu_count

from app.bulk import ray_executor
from app.bulk.job import Job, Status
from app.bulk.process_executor import run_in_processes
from app.bulk.runner import Executor, Runner
from app.cli.console import progress
from app.cli.errors import exit_on_error
from app.cli.options import with_options
from app.networks.store import read_registry
from app.serving.options import EnhanceOptions
from app.settings import Settings


class EngineName(StrEnum):
    """Who does the work."""

    AUTO = "auto"
    LOCAL = "local"
    RAY = "ray"


@with_options(EnhanceOptions)
def bulk(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, or s3://bucket/folder.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Likewise, for the answers.")],
    options: EnhanceOptions,
    engine: Annotated[
        EngineName, typer.Option(help="auto: on the Ray cluster that is there, else local.")
    ] = EngineName.AUTO,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Of the engine local; by default one for each core.")
    ] = None,
    retry: Annotated[bool, typer.Option(help="Try again what failed before.")] = False,
) -> None:
    """Enhance a folder's photographs; the same command goes on where a run was interrupted.

    DST/manifest.jsonl has a line for each file: done, failed or skipped, and why. Files that are
    no images are skipped. Ends with 1 if any photograph failed.
    """
    with exit_on_error():
        if options.look is None:  # a look token determines its model
            options = options.model_copy(update={"model": _resolve_model(options.model)})
        job = Job(source=_absolute(source), target=_absolute(target), options=options)
        run = Runner(job, retry=retry)
        if run.left:
            _carry_out(run, _engine(engine, processes))
    counts = ", ".join(f"{run.manifest.count(status)} {status}" for status in Status)
    typer.echo(f"{len(run.names)} files: {counts}")
    if run.manifest.count(Status.FAILED):
        raise typer.Exit(code=1)


def _carry_out(run: Runner, engine: Executor) -> None:
    with progress(len(run.names), len(run.names) - len(run.left)) as bar:
        for outcome in run.execute(engine):
            if outcome.status is not Status.DONE:
                bar.say(f"{outcome.source}: {outcome.status}: {outcome.reason}")
            bar.advance()


def _engine(name: EngineName, processes: int | None) -> Executor:
    if name is EngineName.RAY or (name is EngineName.AUTO and ray_executor.is_available()):
        return ray_executor.run_on_ray
    return partial(run_in_processes, processes or cpu_count())


def _absolute(place: str) -> str:
    """A path as every process understands it; a URI as it is."""
    return place if "://" in place else str(Path(place).resolve())


def _resolve_model(model: str | None) -> str:
    """NAME@VERSION, so that a run that goes on does so with the model it began with."""
    policy = Settings.from_environment().models
    return read_registry(policy.store, policy.default).get(model).card.model_ref
