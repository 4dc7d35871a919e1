"""Probes and metrics, which a port of their own may serve."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter, FastAPI, Response

from app.web import openapi, problems
from app.web.auth import RequireMetricsScope
from app.web.dependencies import State, StateDep
from app.web.middleware import AccessLog, HeadRequests, ResponseHeaders, TrailingSlash
from app.web.request_checks import RequestChecks

probe_router = APIRouter(responses=openapi.ANY_PROBLEM, tags=["operation"])
metrics_router = APIRouter(responses=openapi.ANY_PROBLEM, tags=["operation"])  # the main port's


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
    return _metrics_response(state)


def _metrics_response(state: State) -> Response:
    # Formatting is too slow for the event loop: the handlers are no coroutines and run on a thread.
    return Response(
        state["metrics"].exposition(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


def create_probes_app(state: State, host: str, allowed_hosts: Collection[str]) -> FastAPI:
    """Construct the application of the metrics port: metrics and probes without authentication.

    Args:
        state: the parts of the main application, which starts and stops them.
        host: the address of the port.
        allowed_hosts: patterns of host names that are served.
    """
    app = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = state

    @app.get("/metrics")
    def read_metrics_unauthenticated() -> Response:
        return _metrics_response(state)

    app.include_router(probe_router)
    app.add_middleware(HeadRequests)
    app.add_middleware(
        RequestChecks,
        host=host,
        allowed_hosts=allowed_hosts,
        origins=(),
        metrics=state["metrics"],
    )
    app.add_middleware(TrailingSlash)
    app.add_middleware(AccessLog, metrics=state["metrics"])
    app.add_middleware(ResponseHeaders)
    problems.install(app)
    return app
