"""Photographs and their LUTs, from file to file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from app.bulk.filenames import SUFFIXES, has_suffix_of
from app.cli.console import progress
from app.cli.errors import exit_on_error, reason
from app.cli.lut import Format, Output, choose_format, report_error
from app.cli.options import with_options
from app.errors import BadParameter, Problem
from app.imaging.codecs import ImageFormat
from app.main import create_service
from app.serving.files import enhance_file, predict_lut_of_file
from app.serving.options import EnhanceOptions, PredictLutOptions
from app.serving.results import EnhancedImage
from app.serving.service import EnhancementService
from app.settings import Settings

AT_ONCE = 8  # files in memory: enough to keep a few cores and the network busy

Process = Callable[[EnhancementService, Path], Awaitable[None]]


@with_options(EnhanceOptions, without={"format"})
def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Photographs.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file, or a folder for several photographs.")
    ],
    options: EnhanceOptions,
) -> None:
    """Enhance photographs; the suffix of a file OUT decides its format."""
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
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photograph.")],
    output: Output,
    options: PredictLutOptions,
    lut_format: Format = None,
) -> None:
    """Write the LUT that is predicted for a photograph."""
    chosen = choose_format(options, lut_format, output)

    async def process(service: EnhancementService, source: Path) -> None:
        file = (await predict_lut_of_file(service, source.read_bytes(), chosen)).file
        output.write_bytes(file.body)
        report_error(output, file.error)

    _process_all([source], process)


def _process_all(paths: list[Path], process: Process) -> None:
    """Treats many files at once, with a progress bar; exits with 1 if any failed."""
    with exit_on_error():
        settings = Settings.from_environment()
        service = create_service(settings.without_deadline())
    at_once = min(AT_ONCE, settings.admission.max_requests)
    if asyncio.run(_failures(service, at_once, paths, process)):
        raise typer.Exit(code=1)


async def _failures(
    service: EnhancementService, at_once: int, paths: list[Path], process: Process
) -> int:
    """Returns how many failed; a failure is one line, and the others are still done."""
    permits = asyncio.Semaphore(at_once)
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
                    bar.say(about + reason(error))
            bar.advance()

        async with service:
            await asyncio.gather(*(guarded(path) for path in paths))
    return failures


def _write(enhanced: EnhancedImage, source: Path, target: Path, written: set[Path]) -> None:
    if target in written:
        raise BadParameter(f"{target} was already written for another photograph")
    if target.exists() and target.samefile(source):
        raise BadParameter("the answer would overwrite the photograph itself")
    written.add(target)
    target.write_bytes(enhanced.body)


def _format_of(path: Path) -> ImageFormat:
    asked = SUFFIXES.get(path.suffix.lower())
    if asked is None:
        raise typer.BadParameter(f"OUT is a folder, or ends in one of {', '.join(SUFFIXES)}")
    return asked


def _output_name(source: Path, output_format: ImageFormat) -> str:
    """Keeps the file's name unless its suffix would lie."""
    if has_suffix_of(source.name, output_format):
        return source.name
    return source.with_suffix(f".{output_format.value}").name
