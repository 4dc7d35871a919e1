"""LUT files: the choice of their format, and their conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import typer

from app.cli.console import exit_on_error, with_options
from app.luts.export import LutOptions, encode_lut
from app.luts.formats import LutFormat, formats_by_suffix, read_lut
from app.luts.formats.base import LutMetadata
from app.luts.lut_error import ErrorStats

OutputFile: TypeAlias = Annotated[Path, typer.Option("--output", "-o", help="A file.")]
FormatOption: TypeAlias = Annotated[
    LutFormat | None, typer.Option("--format", help="Default: the format of the suffix of OUT.")
]
Options = TypeVar("Options", bound=LutOptions)


@with_options(LutOptions, without={"format", "flatten"})
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A LUT file.")],
    output: OutputFile,
    options: LutOptions,
    lut_format: FormatOption = None,
) -> None:
    """Convert a LUT file; the suffixes set the formats."""
    chosen = choose_format(options, lut_format, output)
    with exit_on_error():
        if output.exists() and output.samefile(source):
            raise ValueError(f"{output}: OUT would overwrite IN")
        file = encode_lut(read_lut(source), chosen, LutMetadata(title=source.stem))
        output.write_bytes(file.body)
    report_error(output, file.error)


def choose_format(options: Options, lut_format: LutFormat | None, output: Path) -> Options:
    """Complete options by a format, or by that of the suffix of a file.

    Raises:
        typer.BadParameter: the suffix is that of no format.
        typer.Exit: the format does not allow the options.
    """
    by_suffix = formats_by_suffix()
    lut_format = lut_format or by_suffix.get(output.suffix.lower())
    if lut_format is None:
        raise typer.BadParameter(f"without --format, OUT ends in one of {', '.join(by_suffix)}")
    chosen = options.model_copy(update={"format": lut_format})
    with exit_on_error():
        chosen.require_supported()
    return chosen


def report_error(output: Path, error: ErrorStats | None) -> None:
    """Print how far a file is from the exact LUT, if it is."""
    if error is not None:
        typer.echo(f"{output}: error in 8-bit levels {error}", err=True)
