"""The endpoints, with one router for each port and kind of admission."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute

from app.luts.export import LutOptions
from app.serving.looks import export_memory
from app.serving.options import LOOK_TOKEN, EnhanceOptions, PredictLutOptions
from app.serving.results import EnhancedImage, PredictedLut
from app.web import openapi, problems
from app.web.auth import (
    Principal,
    RequireAdmin,
    RequireAnyKey,
    RequireEnhance,
    RequireLutScope,
    RequireMetricsScope,
)
from app.web.dependencies import (
    GetLutQuery,
    NoQuery,
    State,
    StateDep,
    accepted_formats,
    lut_options,
    receive_image,
)
from app.web.observability import describe_request
from app.web.responses import (
    image_response,
    is_gzipped,
    lut_etag,
    lut_response,
    not_modified,
    notes_headers,
    server_timing,
)
from app.web.uploads import cancel_on_disconnect

image_router = APIRouter(responses=openapi.ANY_PROBLEM)  # for app.web.middleware
router = APIRouter(responses=openapi.ANY_PROBLEM)
probe_router = APIRouter(responses=openapi.ANY_PROBLEM, tags=["operation"])  # of both ports
metrics_router = APIRouter(responses=openapi.ANY_PROBLEM, tags=["operation"])  # of the main port

IMMUTABLE = "max-age=31536000, immutable"  # the LUT of a token never changes


@image_router.post(
    "/enhance",
    tags=["photos"],
    summary="Enhance an image",
    response_class=Response,
    responses=openapi.ENHANCED | openapi.IMAGE_PROBLEMS,
    openapi_extra=openapi.IMAGE_BODY,
)
async def enhance(
    request: Request,
    options: Annotated[EnhanceOptions, Query()],
    principal: RequireEnhance,
    state: StateDep,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Enhance an image with a 3D LUT that is predicted for it.

    ```
    curl --data-binary @photo.jpg 'localhost:8000/enhance?max_side=2048' -o better.jpg
    ```
    """
    service, accepted = state["service"], accepted_formats(accept)
    async with receive_image(request, state) as (permit, body):

        async def work() -> EnhancedImage:
            opened = await service.open(permit, body, options.model, options.look)
            describe_request(opened.model.card.model_ref, opened.source.pixels)
            plan = opened.plan(options, accepted)
            principal.charge_memory(plan.memory)
            return await service.enhance(plan)

        enhanced = await cancel_on_disconnect(request, work())
    state["metrics"].observe_stages(enhanced.timings, enhanced.look.card.model_ref)
    return image_response(enhanced)


@image_router.post(
    "/lut",
    tags=["looks"],
    summary="Predict an image's LUT",
    response_class=Response,
    responses=openapi.LUT_FILE | openapi.IMAGE_PROBLEMS,
    openapi_extra=openapi.IMAGE_BODY,
)
async def predict_lut(
    request: Request,
    query: Annotated[PredictLutOptions, Query()],
    principal: RequireLutScope,
    state: StateDep,
) -> Response:
    """Predict the LUT for an image; a JPEG is not even decoded in full.

    ```
    curl --data-binary @photo.jpg 'localhost:8000/lut?size=17' -o look.cube
    ```
    """
    options = lut_options(query)
    options.require_supported()
    service, gzipped = state["service"], is_gzipped(request, options)
    async with receive_image(request, state) as (permit, body):

        async def work() -> PredictedLut:
            opened = await service.open(permit, body, query.model)
            describe_request(opened.model.card.model_ref, opened.source.pixels)
            principal.charge_memory(opened.predict_memory(options))
            return await service.predict_lut(opened, options, query.truncated, gzipped=gzipped)

        predicted = await cancel_on_disconnect(request, work())
    file, timings = predicted.file, predicted.timings
    state["metrics"].observe_stages(timings, file.look.card.model_ref)
    headers = notes_headers(predicted.notes) | {"Server-Timing": server_timing(timings)}
    return lut_response(file, gzipped, headers)


IMAGE_ENDPOINTS = frozenset(
    (method, route.path)
    for route in image_router.routes
    if isinstance(route, APIRoute)
    for method in route.methods or ()
)


@router.get(
    "/lut",
    tags=["looks"],
    summary="Get a look's LUT again",
    response_class=Response,
    responses=openapi.LUT_FILE | openapi.TOKEN_PROBLEMS,
)
async def get_lut_by_query(
    request: Request,
    query: Annotated[GetLutQuery, Query()],
    principal: RequireLutScope,
    state: StateDep,
) -> Response:
    """Return the same as `GET /lut/{token}`, with the token as a parameter.

    ```
    curl -so better.jpg -w '%header{x-look}' --data-binary @photo.jpg localhost:8000/enhance > token
    curl -G localhost:8000/lut --data-urlencode token@token -o look.cube
    ```
    """
    return await _get_lut_response(request, principal, state, query.token, lut_options(query))


@router.get(
    "/lut/{token}",
    tags=["looks"],
    summary="Get a look's LUT again",
    response_class=Response,
    responses=openapi.LUT_FILE | openapi.TOKEN_PROBLEMS,
)
async def get_lut(
    request: Request,
    token: Annotated[str, Path(json_schema_extra=LOOK_TOKEN)],
    options: Annotated[LutOptions, Query()],
    principal: RequireLutScope,
    state: StateDep,
) -> Response:
    """Rebuild the LUT from the token alone: on any replica, after any restart.

    ```
    curl -so better.jpg -w '%header{x-look}' --data-binary @photo.jpg localhost:8000/enhance > token
    curl "localhost:8000/lut/$(cat token)" -o look.cube
    ```
    """
    return await _get_lut_response(request, principal, state, token, options)


@router.get("/models", tags=["models"], summary="List the models")
async def models(
    _: Annotated[NoQuery, Query()], __: RequireAnyKey, state: StateDep
) -> dict[str, Any]:
    """List the models that are served, with their source, licence and measured figures.

    `restoration` lists those that `restore` and `upscale` use.

    The photographs of the training are in the cards alone: `clut-enhance models show`.
    """
    default = state["service"].models.registry.default.card.model_ref
    return {
        "default": default,
        "models": [
            model.card.model_dump(mode="json", exclude={"training": {"photos"}})
            | {
                "fingerprint": model.card.fingerprint.hex(),
                "shaper": model.network.has_shaper,
                "local": model.network.is_local,
            }
            for model in state["service"].models.registry.models
        ],
        "restoration": [
            restorer.card.model_dump(mode="json", exclude={"training": {"photos"}})
            for restorer in state["service"].models.restorers.all
        ],
    }


@router.post("/models/reload", tags=["operation"], summary="Read the model store again")
async def reload(
    _: Annotated[NoQuery, Query()], __: RequireAdmin, state: StateDep
) -> dict[str, list[str]]:
    """Read the store again; requires the scope admin. Requests in flight keep their models."""
    await state["service"].reload()
    return {"models": [model.card.model_ref for model in state["service"].models.registry.models]}


@router.get("/problems", tags=["operation"], summary="List the problems")
async def problem_types(_: Annotated[NoQuery, Query()]) -> list[dict[str, Any]]:
    """List every kind of problem document that a client can receive."""
    return problems.list_problems()


@probe_router.get("/livez", summary="Is the process healthy?")
async def livez(state: StateDep, response: Response) -> dict[str, bool]:
    """Return 503 if the process must be restarted."""
    response.status_code = 200 if state["service"].alive else 503
    return {"alive": state["service"].alive}


@probe_router.get("/readyz", summary="Are requests accepted?")
async def readyz(state: StateDep, response: Response) -> dict[str, bool]:
    """Return 503 until the networks have run on the device, and while the server drains."""
    response.status_code = 200 if state["service"].ready else 503
    return {"ready": state["service"].ready}


@metrics_router.get("/metrics", summary="Prometheus metrics", response_class=Response)
def read_metrics(_: RequireMetricsScope, state: StateDep) -> Response:
    """Return all metrics in the text exposition format."""
    return metrics_response(state)


def metrics_response(state: State) -> Response:
    """Return all metrics in the text exposition format."""
    # Formatting is too slow for the event loop: the handlers are no coroutines and run on a thread.
    return Response(
        state["metrics"].exposition(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


async def _get_lut_response(
    request: Request, principal: Principal, state: State, token: str, options: LutOptions
) -> Response:
    options.require_supported()
    gzipped = is_gzipped(request, options)
    etag = lut_etag(token, options, gzipped)
    # A response that needed a key must not lie in a cache that needs none.
    reach = "public" if principal.key is None else "private"
    headers = {"Cache-Control": f"{reach}, {IMMUTABLE}", "ETag": etag}
    known = ", ".join(request.headers.getlist("if-none-match"))
    if etag.removeprefix("W/") in known:  # compared weakly: RFC 9110, section 13.1.2
        return not_modified(headers)
    service = state["service"]
    look = service.luts.read(token)
    principal.charge_memory(export_memory(look.model, options))
    file = service.luts.find(look, options, gzipped=gzipped)
    if file is None:
        with service.admission.acquire() as permit:
            permit.enter()
            work = service.luts.export(permit, look, options, gzipped=gzipped)
            file = await cancel_on_disconnect(request, work)
    return not_modified(headers) if known.strip() == "*" else lut_response(file, gzipped, headers)
