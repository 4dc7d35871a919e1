"""The commands `enhance` and `lut`: images from file to file, and their LUTs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from app.bulk.storage import SUFFIXES, has_suffix_of
from app.cli.console import describe, exit_on_error, progress, with_options
from app.cli.lut import FormatOption, OutputFile, choose_format, report_error
from app.errors import BadParameter, Problem
from app.imaging.codecs import ImageFormat
from app.main import create_service
from app.serving.options import EnhanceOptions, PredictLutOptions
from app.serving.results import EnhancedImage
from app.serving.service import EnhancementService, enhance_file, predict_lut_of_file
from app.settings import Settings

CONCURRENT_FILES = 8  # enough to keep a few cores and the network busy

Process = Callable[[EnhancementService, Path], Awaitable[None]]


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
