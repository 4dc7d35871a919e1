"""The parts of the OpenAPI document that FastAPI cannot infer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from app.imaging.codecs import ImageFormat
from app.luts.formats import LutFormat
from app.web.problems import MEDIA_TYPE

_BINARY = {"schema": {"type": "string", "format": "binary"}}

# Any content type is read: what counts is what the bytes are.
IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of an image, or a form with the image in a part named `file`.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            **{image_format.media_type: _BINARY for image_format in ImageFormat},
            "application/octet-stream": _BINARY,
        },
    }
}

ENHANCED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The enhanced photo; `X-Look` names the look. `X-Change` is "
        "the mean change of the colours in CIEDE2000. `X-Unchanged: true` states that the change "
        "was below `min_change`, so that no look was applied.",
        "content": {image.media_type: _BINARY for image in ImageFormat if image.encodable},
    }
}

LUT_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The LUT; `X-Look` names the look. `X-Lut-Error` says how far the file is "
        "from it in 8-bit levels, where it had to be resampled or clamped.",
        "content": {
            media_type: {"schema": {"type": "object"}} if media_type.endswith("json") else _BINARY
            for media_type in (it.codec.media_type.partition(";")[0] for it in LutFormat)
        },
    }
}

_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "request_id": {"type": "string"},
    },
}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}}}


def problems(**described: str) -> dict[int | str, dict[str, Any]]:
    """Responses with a problem document; a status is written as in `_400="..."`."""
    return {int(name.removeprefix("_")): _problem(text) for name, text in described.items()}


# Named, because FastAPI would otherwise announce an error document of its own.
ANY_PROBLEM: dict[int | str, dict[str, Any]] = {"default": _problem("Any other problem.")}


def install(app: FastAPI, *, keys: bool) -> None:
    """Makes the document, which takes 20 ms: at the start, while nobody waits.

    Args:
        app: with all its routes.
        keys: whether the server asks for API keys; otherwise there are none in the document.
    """
    document = app.openapi()
    if not keys:
        _remove_keys(document)


def _remove_keys(document: dict[str, Any]) -> None:
    document["components"].pop("securitySchemes")
    for path in document["paths"].values():
        for operation in path.values():
            operation.pop("security", None)


IMAGE_PROBLEMS = problems(
    _400="A parameter, the form or the look token is not understood.",
    _401="An API key is needed.",
    _403="The API key is for something else.",
    _404="No such model, or the model of the look is not here.",
    _408="The body did not arrive in time.",
    _413="More bytes than are accepted.",
    _415="Not an image that is read here.",
    _422="The image is damaged, has too many pixels, or is animated.",
    _429="The API key's quota is used up; `Retry-After` says when to come back.",
    _503="At capacity or shutting down; `Retry-After` says when to come back.",
    _504="Not ready in time.",
)
TOKEN_PROBLEMS = problems(
    _400="A parameter or the look token is not understood.",
    _401="An API key is needed.",
    _403="The API key is for something else.",
    _404="The model of the look is not here.",
    _429="The API key's quota is used up; `Retry-After` says when to come back.",
)
