"""Options are declared once: the query, the command line and bulk jobs have the same."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError
from typer import Typer
from typer.testing import CliRunner

from app.bulk.run import Job
from app.cli.enhance import bulk, enhance, lut
from app.imaging.codecs import ImageFormat
from app.imaging.metadata import MetadataPolicy
from app.main import create_app, create_service
from app.serving.options import EnhanceOptions, PredictLutOptions
from app.settings import Settings

EXAMPLE = EnhanceOptions(
    model="default@1",
    strength=0.5,
    format=ImageFormat.WEBP,
    quality=80,
    max_side=2048,
    metadata=MetadataPolicy.SAFE,
    look="token",
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strength", math.nan),
        ("strength", 1.1),
        ("quality", 0),
        ("max_side", 0),
        ("format", "bmp"),
        ("metadata", "some"),
        ("vibrance", 1),
    ],
)
def test_bad_options_are_named(name: str, value: object) -> None:
    """A value out of range, or a misspelled name, is an error that names the option."""
    with pytest.raises(ValidationError) as error:
        EnhanceOptions.model_validate({name: value})
    assert [it["loc"][0] for it in error.value.errors()] == [name]


def test_options_are_serialisable() -> None:
    """A manifest and a cluster carry them as text; auto is a format."""
    for options in (EXAMPLE, EnhanceOptions()):
        assert EnhanceOptions.model_validate_json(options.model_dump_json()) == options
        job = Job(source="a", target="b", options=options)
        assert Job.from_json(job.to_json()) == job
    assert EnhanceOptions.model_validate({"format": "auto"}) == EnhanceOptions()


def test_the_query_has_every_option() -> None:
    """With the name, the range and the description of its field."""
    settings = Settings()
    paths = create_app(settings, create_service(settings)).openapi()["paths"]
    for path, model in (("/enhance", EnhanceOptions), ("/lut", PredictLutOptions)):
        queries = {it["name"]: it for it in paths[path]["post"]["parameters"]}
        assert set(queries) == set(model.model_fields)
        for name, field in model.model_fields.items():
            assert queries[name].get("description") == field.description
    strength = next(
        it for it in paths["/enhance"]["post"]["parameters"] if it["name"] == "strength"
    )
    assert (strength["schema"]["minimum"], strength["schema"]["maximum"]) == (0, 1)


@pytest.mark.parametrize(
    ("command", "model"),
    [(enhance, EnhanceOptions), (bulk, EnhanceOptions), (lut, PredictLutOptions)],
)
def test_the_command_line_has_every_option(command: object, model: type[EnhanceOptions]) -> None:
    """Each command has each option, and checks its range."""
    cli = Typer()
    cli.command()(command)  # type: ignore[arg-type]
    text = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "200"}).output
    for name in set(model.model_fields) - {"format"}:
        assert f"--{name.replace('_', '-')} " in text
    arguments = ["IN", "OUT"] if command is bulk else ["IN", "-o", "OUT.png"]
    result = CliRunner().invoke(cli, [*arguments, "--strength", "2"])
    assert result.exit_code == 2
    assert "strength" in result.output
