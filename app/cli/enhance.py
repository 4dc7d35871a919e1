"""Photographs and their LUTs, from file to file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from app.bulk.filenames import SUFFIXES, has_suffix_of, writable_format
from app.cli.console import progress
from app.cli.errors import exit_on_error, reason
from app.errors import BadParameter, Problem
from app.imaging.codecs import ImageFormat
from app.imaging.metadata import MetadataPolicy
from app.luts.export import LutOptions
from app.luts.formats import LutFormat, formats_by_suffix
from app.main import create_service
from app.serving.options import EnhancedImage, EnhanceOptions
from app.serving.service import EnhancementService
from app.serving.timings import Timings
from app.settings import Settings

LUT_SUFFIXES = formats_by_suffix()
AT_ONCE = 8  # files in memory: enough to keep a few cores and the network busy

Process = Callable[[EnhancementService, Path], Awaitable[None]]

Model = Annotated[str | None, typer.Option(help="NAME or NAME@VERSION.")]
Strength = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="0 is untouched, 1 the whole look.")
]
Quality = Annotated[int | None, typer.Option(min=1, max=100, help="By default the format's.")]
MaxSide = Annotated[
    int | None, typer.Option(min=1, help="Pixels that the longer side is reduced to.")
]
Metadata = Annotated[
    MetadataPolicy, typer.Option(help="safe: no GPS, serial numbers, thumbnails, maker notes.")
]


def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Photographs.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file, or a folder for several photographs.")
    ],
    model: Model = None,
    strength: Strength = 1.0,
    quality: Quality = None,
    max_side: MaxSide = None,
    metadata: Metadata = MetadataPolicy.KEEP,
    look: Annotated[str | None, typer.Option(help="A look token, instead of predicting.")] = None,
) -> None:
    """Enhance photographs; the suffix of a file OUT decides its format."""
    into_folder = output.is_dir() or len(inputs) > 1 or not output.suffix
    options = EnhanceOptions(
        model=model,
        look=look,
        strength=strength,
        quality=quality,
        max_side=max_side,
        metadata=metadata,
        output_format=writable_format if into_folder else _format_of(output),
    )
    written: set[Path] = set()

    async def treat(service: EnhancementService, source: Path) -> None:
        enhanced = await service.enhance(source.read_bytes(), options, Timings())
        target = output / _output_name(source, enhanced.format) if into_folder else output
        _write(enhanced, source, target, written)

    if into_folder:
        with exit_on_error():
            output.mkdir(parents=True, exist_ok=True)
    _process_all(inputs, treat)


def lut(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photograph.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A file.")],
    lut_format: Annotated[
        LutFormat | None, typer.Option("--format", help="By default what the suffix of OUT says.")
    ] = None,
    model: Model = None,
    strength: Strength = 1.0,
    size: Annotated[int | None, typer.Option(min=2, max=129)] = None,
    title: Annotated[str | None, typer.Option(help="The LUT's name in the file.")] = None,
    clamp: Annotated[bool, typer.Option(help="Clamp the table to 0..1.")] = False,
) -> None:
    """Write the LUT that is predicted for a photograph."""
    options = LutOptions(lut_format or _lut_format_of(output), size, strength, title, clamp)

    async def treat(service: EnhancementService, source: Path) -> None:
        body = source.read_bytes()
        file = await service.predict_lut(body, EnhanceOptions(model=model), options, Timings())
        output.write_bytes(file.body)
        if file.error is not None:
            typer.echo(f"{output}: error in 8-bit levels {file.error}", err=True)

    _process_all([source], treat)


def _process_all(paths: list[Path], treat: Process) -> None:
    """Treats many files at once, with a progress bar; exits with 1 if any failed."""
    with exit_on_error():
        settings = Settings.from_environment()
        service = create_service(settings.without_deadline())
    at_once = min(AT_ONCE, settings.admission.max_requests)
    if asyncio.run(_failures(service, at_once, paths, treat)):
        raise typer.Exit(code=1)


async def _failures(
    service: EnhancementService, at_once: int, paths: list[Path], treat: Process
) -> int:
    """Returns how many failed; a failure is one line, and the others are still done."""
    permits = asyncio.Semaphore(at_once)
    failures = 0
    with progress(len(paths)) as bar:

        async def guarded(path: Path) -> None:
            nonlocal failures
            async with permits:
                try:
                    await treat(service, path)
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


def _format_of(path: Path) -> Callable[[ImageFormat], ImageFormat]:
    asked = SUFFIXES.get(path.suffix.lower())
    if asked is None:
        raise typer.BadParameter(f"OUT is a folder, or ends in one of {', '.join(SUFFIXES)}")
    return lambda _: asked


def _lut_format_of(path: Path) -> LutFormat:
    asked = LUT_SUFFIXES.get(path.suffix.lower())
    if asked is None:
        raise typer.BadParameter(f"without --format, OUT ends in one of {', '.join(LUT_SUFFIXES)}")
    return asked


def _output_name(source: Path, output_format: ImageFormat) -> str:
    """Keeps the file's name unless its suffix would lie."""
    if has_suffix_of(source.name, output_format):
        return source.name
    return source.with_suffix(f".{output_format.value}").name
