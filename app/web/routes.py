"""The endpoints."""

from __future__ import annotations

import gzip
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from app.serving.enhancer import Enhancer
from app.serving.look import Look, Wish
from app.serving.lut_file import write_lut
from app.serving.timings import STAGES, Timings
from app.web import openapi, problems
from app.web.body import read_image, unless_departed
from app.web.negotiation import output_format
from app.web.queries import (
    EnhanceQuery,
    LutQuery,
    NoQuery,
    PredictLutQuery,
    RecallLutQuery,
)
from app.web.state import TheEnhancer, TheHttpPolicy, TheMetrics

router = APIRouter(responses=openapi.ANY_PROBLEM)

FOR_EVER = "public, max-age=31536000, immutable"  # a token says all: its LUT never changes
GZIP_LEVEL = 1  # 970 KB of .cube become 430 KB in 11 ms; at level 9, 380 KB in 230 ms


@router.post(
    "/enhance",
    tags=["photos"],
    summary="Enhance a photo",
    response_class=Response,
    responses=openapi.ENHANCED | openapi.PHOTO_PROBLEMS,
    openapi_extra=openapi.PHOTO_BODY,
)
async def enhance(
    request: Request,
    query: Annotated[EnhanceQuery, Query()],
    enhancer: TheEnhancer,
    metrics: TheMetrics,
    http: TheHttpPolicy,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Answers the photo, made better by a 3D LUT that was predicted for it.

    ```
    curl --data-binary @photo.jpg 'localhost:8000/enhance?max_side=2048' -o better.jpg
    ```
    """
    wish = Wish(
        model=query.model,
        look=query.look,
        strength=query.strength,
        output_format=output_format(query.format, accept),
        quality=query.quality,
        max_side=query.max_side,
        metadata=query.metadata,
    )
    timings = Timings()
    enhancer.admission.check()  # a body that would be refused need not be sent
    with metrics.photo(timings):
        body = await read_image(request, http.max_body_bytes)
        enhanced = await unless_departed(request, enhancer.enhance(body, wish, timings))
    return Response(
        enhanced.body,
        media_type=enhanced.format.media_type,
        headers=_look_headers(enhanced.look)
        | {"Server-Timing": _server_timing(timings), "Vary": "Accept"},
    )


@router.post(
    "/lut",
    tags=["looks"],
    summary="Predict a photo's LUT",
    response_class=Response,
    responses=openapi.LUT_FILE | openapi.PHOTO_PROBLEMS,
    openapi_extra=openapi.PHOTO_BODY,
)
async def predict_lut(
    request: Request,
    query: Annotated[PredictLutQuery, Query()],
    enhancer: TheEnhancer,
    metrics: TheMetrics,
    http: TheHttpPolicy,
) -> Response:
    """Answers the LUT that was predicted for a photo; a JPEG is not even decoded in full.

    ```
    curl --data-binary @photo.jpg 'localhost:8000/lut?size=17' -o look.cube
    ```
    """
    timings = Timings()
    enhancer.admission.check()  # a body that would be refused need not be sent
    with metrics.photo(timings):
        body = await read_image(request, http.max_body_bytes)
        wish = Wish(model=query.model)
        look = await unless_departed(request, enhancer.predict(body, wish, timings))
    headers = _look_headers(look) | {"Server-Timing": _server_timing(timings)}
    return await _lut_response(request, enhancer, look, query, headers)


@router.get(
    "/lut",
    tags=["looks"],
    summary="Get a look's LUT again",
    response_class=Response,
    responses=openapi.LUT_FILE | openapi.TOKEN_PROBLEMS,
)
async def recall_lut_by_query(
    request: Request, query: Annotated[RecallLutQuery, Query()], enhancer: TheEnhancer
) -> Response:
    """As `GET /lut/{token}`, for tokens that are easier to pass as a parameter.

    ```
    curl -so better.jpg -w '%header{x-look}' --data-binary @photo.jpg localhost:8000/enhance > token
    curl -G localhost:8000/lut --data-urlencode token@token -o look.cube
    ```
    """
    return await _recalled(request, enhancer, query.token, query)


@router.get(
    "/lut/{token}",
    tags=["looks"],
    summary="Get a look's LUT again",
    response_class=Response,
    responses=openapi.LUT_FILE | openapi.TOKEN_PROBLEMS,
)
async def recall_lut(
    request: Request,
    token: str,
    query: Annotated[LutQuery, Query()],
    enhancer: TheEnhancer,
) -> Response:
    """Makes the LUT from the token alone: on any replica, after any restart, for ever.

    ```
    curl -so better.jpg -w '%header{x-look}' --data-binary @photo.jpg localhost:8000/enhance > token
    curl "localhost:8000/lut/$(cat token)" -o look.cube
    ```
    """
    return await _recalled(request, enhancer, token, query)


@router.get("/models", tags=["models"], summary="List the models")
async def models(_: Annotated[NoQuery, Query()], enhancer: TheEnhancer) -> dict[str, Any]:
    """What is served, where it comes from, and under which licence."""
    default = enhancer.catalogue.default.card.label
    return {
        "default": default,
        "models": [
            model.card.model_dump(mode="json")
            | {"fingerprint": model.card.fingerprint.hex(), "shaper": model.network.has_shaper}
            for model in enhancer.catalogue.models
        ],
    }


@router.get("/problems", tags=["operation"], summary="List the problems")
async def problem_types(_: Annotated[NoQuery, Query()]) -> list[dict[str, Any]]:
    """Every kind of problem document that the service answers with."""
    return problems.catalogue()


@router.get("/livez", tags=["operation"], summary="Is the process sound?")
async def livez(enhancer: TheEnhancer, response: Response) -> dict[str, bool]:
    """503 when only a restart helps."""
    response.status_code = 200 if enhancer.alive else 503
    return {"alive": enhancer.alive}


@router.get("/readyz", tags=["operation"], summary="Are requests welcome?")
async def readyz(enhancer: TheEnhancer, response: Response) -> dict[str, bool]:
    """503 until the networks have run on the device, and while draining."""
    response.status_code = 200 if enhancer.ready else 503
    return {"ready": enhancer.ready}


@router.get("/metrics", tags=["operation"], summary="Prometheus metrics", response_class=Response)
async def read_metrics(metrics: TheMetrics) -> Response:
    """The text exposition format."""
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _recalled(request: Request, enhancer: Enhancer, token: str, query: LutQuery) -> Response:
    look = await enhancer.recall(token)
    tag = hashlib.sha256(query.model_dump_json().encode() + token.encode()).hexdigest()[:32]
    etag = f'"{tag}-gzip"' if _takes_gzip(request) else f'"{tag}"'
    headers = {"Cache-Control": FOR_EVER, "ETag": etag, "Vary": "Accept-Encoding"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return await _lut_response(request, enhancer, look, query, headers | _look_headers(look))


async def _lut_response(
    request: Request, enhancer: Enhancer, look: Look, query: LutQuery, headers: dict[str, str]
) -> Response:
    file = await enhancer.in_worker(write_lut, look, query.wish())
    content = file.body
    headers = headers | {
        "Content-Disposition": f'attachment; filename="{look.card.name}{file.format.suffix}"',
        "Vary": "Accept-Encoding",
    }
    if file.error is not None:
        headers["X-Lut-Error"] = str(file.error)
    if _takes_gzip(request):
        content = await enhancer.in_worker(gzip.compress, content, GZIP_LEVEL)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=file.format.media_type, headers=headers)


def _takes_gzip(request: Request) -> bool:
    codings = [
        coding.replace(" ", "")
        for coding in request.headers.get("accept-encoding", "").lower().split(",")
    ]
    return any(c.split(";")[0] == "gzip" and not c.endswith(";q=0") for c in codings)


def _look_headers(look: Look) -> dict[str, str]:
    return {
        "X-Look": look.token,
        "X-Model": look.card.label,
        "Link": f'</lut/{look.token}>; rel="describedby"',
    }


def _server_timing(timings: Timings) -> str:
    """Milliseconds, as in the W3C's Server Timing."""
    stages = {"queue": timings.queue} | {
        stage: timings.seconds[stage] for stage in STAGES if stage in timings.seconds
    }
    return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages.items())
