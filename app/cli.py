"""The command line: the same engine, with or without HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.errors import BadParameter, Problem
from app.imaging.metadata import MetadataPolicy
from app.imaging.photo import ImageFormat
from app.main import create_app, create_enhancer
from app.networks.architectures import import_published
from app.networks.base import ThumbnailRecipe
from app.networks.store import Catalogue, read_store, write_model
from app.serving.enhancer import Enhanced, Enhancer, Wish
from app.serving.lut_file import LutFormat, LutWish, write_lut
from app.serving.timings import Timings
from app.settings import Settings
from app.web.server import serve as serve_http

SUFFIXES = {
    ".jpg": ImageFormat.JPEG,
    ".jpeg": ImageFormat.JPEG,
    ".png": ImageFormat.PNG,
    ".webp": ImageFormat.WEBP,
    ".avif": ImageFormat.AVIF,
    ".tif": ImageFormat.TIFF,
    ".tiff": ImageFormat.TIFF,
}
LUT_SUFFIXES = {it.suffix: it for it in LutFormat if it is not LutFormat.RESOLVE}
GRACE = 5.0  # seconds that stopping may take beyond the deadline of the last request

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Makes photographs look better with image-adaptive 3D LUTs.",
)
models = typer.Typer(no_args_is_help=True, help="The model store.")
cli.add_typer(models, name="models")

Model = Annotated[str | None, typer.Option(help="NAME or NAME@VERSION.")]
Strength = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="0 is untouched, 1 the whole look.")
]


def main() -> None:
    """The console script."""
    cli()


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Instead of CLUT_HTTP_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of CLUT_HTTP_PORT.")] = None,
) -> None:
    """Serve over HTTP; every setting is an environment variable, see the README."""
    with _complaints():
        settings = Settings.from_environment()
        given = {"host": host, "port": port}
        http = settings.http.model_copy(
            update={name: value for name, value in given.items() if value is not None}
        )
        settings = settings.model_copy(update={"http": http})
        enhancer = create_enhancer(settings)
    app = create_app(settings, enhancer)
    serve_http(app, enhancer, http, stop_within=settings.admission.deadline + GRACE)


@cli.command()
def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Photographs.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file, or a folder for several photographs.")
    ],
    model: Model = None,
    strength: Strength = 1.0,
    quality: Annotated[int | None, typer.Option(min=1, max=100)] = None,
    max_side: Annotated[int | None, typer.Option(min=1)] = None,
    metadata: MetadataPolicy = MetadataPolicy.KEEP,
    look: Annotated[str | None, typer.Option(help="A look token, instead of predicting.")] = None,
) -> None:
    """Enhance photographs; the suffix of a file OUT decides its format."""
    into_folder = output.is_dir() or len(inputs) > 1 or not output.suffix
    wish = Wish(
        model=model,
        look=look,
        strength=strength,
        quality=quality,
        max_side=max_side,
        metadata=metadata,
        output_format=_writable if into_folder else _format_of(output),
    )

    async def one(enhancer: Enhancer, source: Path) -> None:
        enhanced = await enhancer.enhance(source.read_bytes(), wish, Timings())
        _write(enhanced, source, output, into_folder=into_folder)

    if into_folder:
        output.mkdir(parents=True, exist_ok=True)
    _for_each(inputs, one)


@cli.command()
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
    wish = LutWish(lut_format or _lut_format_of(output), size, strength, title, clamp)

    async def one(enhancer: Enhancer, source: Path) -> None:
        look = await enhancer.predict(source.read_bytes(), Wish(model=model), Timings())
        file = write_lut(look, wish)
        output.write_bytes(file.body)
        if file.error is not None:
            typer.echo(f"{output}: error in 8-bit levels {file.error}", err=True)

    _for_each([source], one)


@cli.command()
def settings() -> None:
    """Print every setting, its default and what it does, as a Markdown table."""
    for variable, default, description in Settings.variables():
        typer.echo(f"| `{variable}` | `{default}` | {description} |")


@models.command("list")
def list_models() -> None:
    """List the models of the store."""
    with _complaints():
        catalogue = _catalogue()
    table = Table("model", "architecture", "parameters", "LUT", "licence", "fingerprint", box=None)
    for model in catalogue.models:
        card = model.card
        size = f"{card.lut_size}³"
        row = (card.label, card.architecture, f"{card.parameters:,}", size, card.licence)
        table.add_row(*row, card.fingerprint.hex())
    Console().print(table)


@models.command()
def show(name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")]) -> None:
    """Print a model's card."""
    with _complaints():
        typer.echo(_catalogue().named(name).card.model_dump_json(indent=2))


@models.command("import")
def import_model(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Published checkpoints.")],
    name: Annotated[str, typer.Option(help="The model's name in the store.")],
    licence: Annotated[str, typer.Option(help="The licence of the weights.")] = "not stated",
    source: Annotated[str, typer.Option(help="Where they come from, and whom to credit.")] = "",
) -> None:
    """Import weights as their authors published them (CLUT-Net, LUT-3, AdaInt, SepLUT)."""
    with _complaints():
        card = write_model(
            Settings.from_environment().models.store,
            import_published(files),
            name=name,
            licence=licence,
            source=source or f"imported from {', '.join(file.name for file in files)}",
            thumbnail=ThumbnailRecipe(),  # all of them were trained on this one
        )
    typer.echo(f"{card.label}: {card.architecture}, {card.parameters:,} parameters")


def _catalogue() -> Catalogue:
    policy = Settings.from_environment().models
    return Catalogue(read_store(policy.store), policy.default)


@contextmanager
def _complaints() -> Iterator[None]:
    """Ends the program with one clear line for each thing that is wrong."""
    try:
        yield
    except Problem as problem:
        lines = [f"{problem.title}: {problem.detail}"]
    except ValidationError as error:
        lines = [
            f"CLUT_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}"
            for item in error.errors()
        ]
    except (ValueError, RuntimeError) as error:
        lines = [str(error)]
    else:
        return
    for line in lines:
        typer.echo(f"clut-enhance: {line}", err=True)
    raise typer.Exit(code=1)


def _for_each(paths: list[Path], one: Callable[[Enhancer, Path], Awaitable[None]]) -> None:
    """Treats many files at once, with a progress bar; exits with 1 if any failed."""
    with _complaints():
        settings = Settings.from_environment()
        enhancer = create_enhancer(settings)
    failures = asyncio.run(_all(enhancer, settings.admission.max_requests, paths, one))
    if failures:
        raise typer.Exit(code=1)


async def _all(
    enhancer: Enhancer,
    at_once: int,
    paths: list[Path],
    one: Callable[[Enhancer, Path], Awaitable[None]],
) -> int:
    """Returns how many failed; a failure is one line, and the others are still done."""
    permits = asyncio.Semaphore(at_once)
    failures = 0
    console = Console(stderr=True)
    with Progress(console=console, disable=len(paths) == 1 or not sys.stderr.isatty()) as progress:
        bar = progress.add_task("Photographs", total=len(paths))

        async def guarded(path: Path) -> None:
            nonlocal failures
            async with permits:
                try:
                    await one(enhancer, path)
                except (Problem, OSError) as error:
                    failures += 1
                    console.print(f"{path}: {_reason(error)}", markup=False, soft_wrap=True)
            progress.advance(bar)

        async with enhancer:
            await asyncio.gather(*(guarded(path) for path in paths))
    return failures


def _reason(error: Problem | OSError) -> str:
    if isinstance(error, Problem):
        return f"{error.title}: {error.detail}"
    return error.strerror or str(error)


def _write(enhanced: Enhanced, source: Path, output: Path, *, into_folder: bool) -> None:
    target = output / _renamed(source, enhanced.format) if into_folder else output
    if target.exists() and target.samefile(source):
        raise BadParameter("the answer would overwrite the photograph itself")
    target.write_bytes(enhanced.body)


def _writable(own: ImageFormat) -> ImageFormat:
    return own if own.encodable else ImageFormat.JPEG


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


def _renamed(source: Path, output_format: ImageFormat) -> str:
    """Keeps the file's name unless its suffix would lie."""
    if SUFFIXES.get(source.suffix.lower()) is output_format:
        return source.name
    return source.with_suffix(f".{output_format.value}").name
