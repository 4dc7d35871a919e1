"""The common part of commands: options derived from models, progress, errors on one line each."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from app.errors import Problem
from app.settings import PREFIX, Settings

CLEAR_LINE = "\r\x1b[K"


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program with status 1, and one line for each thing that is wrong."""
    try:
        yield
    except (Problem, OSError) as error:
        lines = [describe(error)]
    except ValidationError as error:
        lines = [f"{_locate(error, item['loc'])}: {item['msg']}" for item in error.errors()]
    except (ValueError, RuntimeError) as error:
        lines = [str(error)]
    else:
        return
    for line in lines:
        typer.echo(f"clut-enhance: {_printable(line)}", err=True)
    raise typer.Exit(code=1)


def describe(error: Problem | OSError) -> str:
    """Return an error as one line."""
    if isinstance(error, Problem):
        return f"{error.title}: {error.detail}"
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


class ProgressBar:
    """A bar with lines of text above it; without a terminal, the lines alone."""

    def __init__(self, step: Callable[[int], None] | None) -> None:
        self._step = step

    def advance(self) -> None:
        """Move the bar by one file."""
        if self._step is not None:
            self._step(1)

    def write_line(self, line: str) -> None:
        """Write a line; the bar is drawn again below it when it next moves."""
        line = _printable(line)
        typer.echo(line if self._step is None else CLEAR_LINE + line, err=True)


@contextmanager
def progress(total: int, done: int = 0) -> Iterator[ProgressBar]:
    """Show a bar of `total` files, of which `done` are complete, as long as the context lasts.

    There is no bar for a single file, nor where the standard error is no terminal.
    """
    if total == 1 or not sys.stderr.isatty():
        yield ProgressBar(None)
        return
    with typer.progressbar(length=total, file=sys.stderr, show_pos=True) as bar:
        bar.update(done)
        yield ProgressBar(bar.update)


def _printable(text: str) -> str:
    """Escape characters that would break a line or the terminal; file names may contain any."""
    return "".join(it if it.isprintable() else ascii(it)[1:-1] for it in text)


def _locate(error: ValidationError, location: tuple[int | str, ...]) -> str:
    """Return the variable of a setting, or the path of a value in a file."""
    if error.title == Settings.__name__:
        return PREFIX + "_".join(map(str, location)).upper()
    return ".".join(map(str, location))


def with_options(
    model: type[BaseModel], *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a model; it receives the model as `options`.

    Args:
        model: its fields' names, types, constraints, defaults and descriptions become options.
        without: fields that the command determines in another way; they keep their defaults.
    """
    schema = model.model_json_schema()
    fields = {name: it for name, it in model.model_fields.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [it for it in signature.parameters.values() if it.name != "options"]
        derived = [_parameter(name, field, schema) for name, field in fields.items()]

        @wraps(command)
        def run(**arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in fields}
            command(**arguments, options=_validate(model, values))

        del run.__wrapped__  # typer would read the annotations of the command itself
        run.__signature__ = signature.replace(parameters=[*own, *derived])  # type: ignore[attr-defined]
        run.__annotations__ = {it.name: it.annotation for it in (*own, *derived)}
        return run

    return decorate


def _parameter(name: str, field: FieldInfo, schema: dict[str, Any]) -> inspect.Parameter:
    """Return the parameter of a typer command for a field whose JSON schema is in `schema`."""
    typed = _resolve(schema["properties"][name], schema)
    default = typed.get("default", field.default)
    kind = _type(typed)
    option = typer.Option(
        help=field.description, min=typed.get("minimum"), max=typed.get("maximum")
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind | None if default is None else kind, option],
    )


def _resolve(typed: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and drop the alternative null; several others are text to the model."""
    if "anyOf" in typed:
        kinds = [it for it in typed["anyOf"] if it.get("type") != "null"]
        typed |= kinds[0] if len(kinds) == 1 else {"type": "string"}
    if "$ref" in typed:
        typed = schema["$defs"][typed["$ref"].rpartition("/")[2]] | typed
    return typed


def _type(typed: dict[str, Any]) -> Any:
    """Return the Python type of a JSON schema."""
    if "enum" in typed:
        return Literal[tuple(typed["enum"])]
    return {"boolean": bool, "integer": int, "number": float, "string": str}[typed["type"]]


def _validate(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{option}: {first['msg']}") from error
