"""The commands that enhance images: `enhance` and `lut` for files, `bulk` for a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from loky import cpu_count

from app.bulk import executors
from app.bulk.executors import run_in_processes
from app.bulk.run import Executor, Job, Runner, Status, open_run
from app.bulk.storage import SUFFIXES, has_suffix_of
from app.cli.console import describe, exit_on_error, progress, with_options
from app.cli.lut import FormatOption, OutputFile, choose_format, report_error
from app.errors import BadParameter, Problem
from app.imaging.codecs import ImageFormat
from app.main import create_service
from app.networks.store import read_registry
from app.serving.options import EnhanceOptions, PredictLutOptions
from app.serving.results import EnhancedImage
from app.serving.service import EnhancementService, enhance_file, predict_lut_of_file
from app.settings import Settings

CONCURRENT_FILES = 8  # enough to keep a few cores and the network busy

Process = Callable[[EnhancementService, Path], Awaitable[None]]


class Engine(StrEnum):
    """Where the work is done."""

    AUTO = "auto"
    LOCAL = "local"
    RAY = "ray"


@with_options(EnhanceOptions, without={"format"})
def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Images.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file, or a folder for several images.")
    ],
    options: EnhanceOptions,
) -> None:
    """Enhance images; the suffix of OUT sets the format.

    Into a folder, each image keeps its name and its format.
    """
    into_folder = output.is_dir() or len(inputs) > 1 or not output.suffix
    if not into_folder:
        options = options.model_copy(update={"format": _format_of(output)})
    written: set[Path] = set()

    async def process(service: EnhancementService, source: Path) -> None:
        enhanced = await enhance_file(service, source.read_bytes(), options)
        target = output / _output_name(source, enhanced.format) if into_folder else output
        _write(enhanced, source, target, written)

    if into_folder:
        with exit_on_error():
            output.mkdir(parents=True, exist_ok=True)
    _process_all(inputs, process)


@with_options(PredictLutOptions, without={"format"})
def lut(
    source: Annotated[Path, typer.Argument(metavar="IN", help="An image.")],
    output: OutputFile,
    options: PredictLutOptions,
    lut_format: FormatOption = None,
) -> None:
    """Write the LUT that is predicted for an image."""
    chosen = choose_format(options, lut_format, output)

    async def process(service: EnhancementService, source: Path) -> None:
        file = (await predict_lut_of_file(service, source.read_bytes(), chosen)).file
        output.write_bytes(file.body)
        report_error(output, file.error)

    _process_all([source], process)


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
        with open_run(job, retry=retry) as runner:
            if runner.left:
                _execute(runner, _executor(engine, processes))
    counts = ", ".join(f"{runner.manifest.count(status)} {status}" for status in Status)
    typer.echo(f"{len(runner.names)} files: {counts}")
    if runner.manifest.count(Status.FAILED):
        raise typer.Exit(code=1)


def _process_all(paths: list[Path], process: Process) -> None:
    """Process several files concurrently, with a progress bar; exit with 1 if any failed."""
    with exit_on_error():
        settings = Settings.from_environment()
        service = create_service(settings.without_deadline())
    concurrent = min(CONCURRENT_FILES, settings.admission.max_requests)
    if asyncio.run(_count_failures(service, concurrent, paths, process)):
        raise typer.Exit(code=1)


async def _count_failures(
    service: EnhancementService, concurrent: int, paths: list[Path], process: Process
) -> int:
    """Return the number of files that failed; each failure is one line and stops no other file."""
    permits = asyncio.Semaphore(concurrent)
    failures = 0
    with progress(len(paths)) as bar:

        async def guarded(path: Path) -> None:
            nonlocal failures
            async with permits:
                try:
                    await process(service, path)
                except (Problem, OSError) as error:
                    failures += 1
                    about = "" if isinstance(error, OSError) else f"{path}: "
                    bar.write_line(about + describe(error))
            bar.advance()

        async with service:
            await asyncio.gather(*(guarded(path) for path in paths))
    return failures


def _write(enhanced: EnhancedImage, source: Path, target: Path, written: set[Path]) -> None:
    if target in written:
        raise BadParameter(f"{target} was already written for another image")
    if target.exists() and target.samefile(source):
        raise BadParameter("the result would overwrite the image itself")
    written.add(target)
    target.write_bytes(enhanced.body)


def _format_of(path: Path) -> ImageFormat:
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise typer.BadParameter(f"OUT is a folder, or ends in one of {', '.join(SUFFIXES)}")
    return found


def _output_name(source: Path, output_format: ImageFormat) -> str:
    """Return the name of the image, with another suffix if its own is of another format."""
    if has_suffix_of(source.name, output_format):
        return source.name
    return source.with_suffix(output_format.suffix).name


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
