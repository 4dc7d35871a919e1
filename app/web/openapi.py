"""The OpenAPI document, where FastAPI cannot infer it, and Swagger UI at /docs."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from app.imaging.codecs import ImageFormat
from app.luts.formats import LutFormat
from app.web.problems import MEDIA_TYPE

_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_BINARY = {"schema": {"type": "string", "format": "binary"}}

# Any content type is accepted: the format is detected from the content.
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
        "description": "The enhanced image; `X-Look` is the token of the look. `X-Change` is the "
        "mean change of the colours in CIEDE2000. `X-Unchanged: true` states that the change was "
        "below `min_change`, so that no look was applied. "
        "`X-Restore` is the damage that `restore` measured, and the strength of its correction. "
        "`X-Upscale` is the factor and the models by which the image was enlarged. "
        "`X-Image-Notes` names further changes: `tone-mapped` (from HDR), `truncated` (filled), "
        "`first-page` (a TIFF had further pages), "
        "`first-frame` (an animation had further frames).",
        "content": {image.media_type: _BINARY for image in ImageFormat if image.encodable},
    }
}

LUT_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The LUT; `X-Look` is the token of the look. `X-Lut-Error` is the error of "
        "the file in 8-bit levels, where the LUT had to be resampled, clamped or flattened. "
        "`POST /lut` also returns `X-Image-Notes`, as `POST /enhance` does.",
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
    """Return responses with a problem document; a status is written as in `_400="..."`."""
    return {int(name.removeprefix("_")): _problem(text) for name, text in described.items()}


# Without it FastAPI would document an error format of its own.
ANY_PROBLEM: dict[int | str, dict[str, Any]] = {"default": _problem("Any other problem.")}


IMAGE_PROBLEMS = problems(
    _400="A parameter, the form or the look token is invalid.",
    _401="An API key is required.",
    _403="The API key lacks the scope, or a page of another site sent the request.",
    _404="The model does not exist, or the model of the look is not served.",
    _408="The body did not arrive in time.",
    _409="The looks of the model differ within an image, and `flatten` is not set.",
    _413="The body is too large.",
    _415="The body is not a supported image, or its content encoding is not supported.",
    _421="The Host header names a host that is not served.",
    _422="The image is damaged, has too many pixels or frames, or holds several images.",
    _429="The API key's quota is used up; `Retry-After` is when to retry.",
    _503="At capacity or shutting down; `Retry-After` is when to retry.",
    _504="The response was not ready in time.",
)
TOKEN_PROBLEMS = problems(
    _400="A parameter or the look token is invalid.",
    _401="An API key is required.",
    _403="The API key lacks the scope, or a page of another site sent the request.",
    _404="The model of the look is not served.",
    _409="The look differs within the image, and `flatten` is not set.",
    _429="The API key's quota is used up; `Retry-After` is when to retry.",
)


def install(app: FastAPI, *, keys: bool) -> None:
    """Generate the document at the start, since it takes 20 ms; add the page /docs.

    Args:
        app: the app with all its routes.
        keys: whether API keys are required; otherwise the document does not mention them.
    """
    document = app.openapi()
    if not keys:
        _remove_keys(document)
    _add_swagger_ui(app)


def _remove_keys(document: dict[str, Any]) -> None:
    document["components"].pop("securitySchemes")
    for path in document["paths"].values():
        for operation in path.values():
            operation.pop("security", None)


def _add_swagger_ui(app: FastAPI) -> None:
    page = _page(app.title)
    policy = _content_security_policy(page)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    resources = StaticFiles(packages=[("fastapi_swagger", "resources")])
    app.mount("/swagger", resources, name="swagger")


def _page(title: str) -> bytes:
    """Return the page; its addresses are relative, so that it works behind any path prefix."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )
    return bytes(page.body)


def _content_security_policy(page: bytes) -> str:
    """Return a policy that allows the scripts of the page, by their hashes, and no others."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(page)
    ]
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {' '.join(hashes)}",
            "style-src 'self' 'unsafe-inline'",  # Swagger UI sets styles on elements
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
