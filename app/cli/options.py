"""Command-line options that are derived from option models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo


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
