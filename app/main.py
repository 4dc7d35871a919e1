"""The application and its process: no other module constructs its parts and connects them."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI, Response
from loky import cpu_count
from starlette.middleware.cors import CORSMiddleware

from app.access import ApiKeyStore, check_exposure
from app.imaging.sandbox import Sandbox
from app.networks.store import read_registry
from app.restoration.store import read_restorers
from app.serving.admission import Admission
from app.serving.device import Device
from app.serving.looks import LutCache
from app.serving.model_runners import ModelRunners
from app.serving.service import EnhancementService
from app.serving.thread_pool import PriorityThreadPool
from app.settings import Settings
from app.web import openapi, page, problems
from app.web.auth import Authenticator, RateLimits
from app.web.dependencies import State
from app.web.metrics import Metrics
from app.web.middleware import (
    EXPOSED_HEADERS,
    AccessLog,
    HeadRequests,
    LoadShedding,
    ResponseHeaders,
    TrailingSlash,
)
from app.web.observability import is_probe
from app.web.request_checks import RequestChecks
from app.web.responses import ResponseMemory
from app.web.routes import (
    IMAGE_ENDPOINTS,
    image_router,
    metrics_response,
    metrics_router,
    probe_router,
    router,
)
from app.web.uploads import Uploads

log = logging.getLogger("clut")

SWITCH_INTERVAL = 0.5e-3  # seconds; Python's default, 5 ms, is as long as a stage of a small image
# mallopt(3) of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_NEVER = 1 << 30

DESCRIPTION = """Makes photographs look better with image-adaptive 3D LUTs (CLUT-Net).

    curl --data-binary @photo.jpg localhost:8000/enhance -o better.jpg
    curl --data-binary @photo.jpg localhost:8000/lut -o look.cube
"""


def create_service(
    settings: Settings, threads: int | None = None, device: Device | None = None
) -> EnhancementService:
    """Construct the service without HTTP, cold: entering it starts it.

    Args:
        settings: all of them.
        threads: for pixels; None is one for each core that the cgroup and affinity allow.
        device: runs the networks; None is the one that the settings name.

    Raises:
        BadModel: the default model cannot be read.
        UnknownModel: the default model is not in the store.
        RuntimeError: the device that the settings name does not exist.
    """
    threads = threads or cpu_count()
    load = partial(read_registry, settings.models.store, settings.models.default)
    return EnhancementService(
        ModelRunners(
            load,
            partial(read_restorers, settings.models.store),
            device or Device(settings.device),
            settings.batch,
        ),
        Admission(settings.admission),
        PriorityThreadPool(threads),
        Sandbox(threads, preload="app.luts.apply:load_loops"),
        LutCache(settings.lut),
        settings.image,
    )


def create_app(settings: Settings, service: EnhancementService) -> FastAPI:
    """Construct the service behind HTTP; starting the app enters the service, stopping leaves it.

    Raises:
        OSError, ValueError: the file of API keys cannot be read, or keys are needed.
    """
    keys = ApiKeyStore(settings.auth)
    check_exposure(settings.http.host, keys, settings.auth)
    metrics = Metrics()
    uploads = Uploads(settings.upload)
    metrics.watch(service, uploads)
    metrics.initialise(IMAGE_ENDPOINTS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    app = FastAPI(
        title="clut-enhance",
        version=version("clut-enhance"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # app.web.openapi has it, without another host
        redoc_url=None,
        redirect_slashes=False,  # app.web.middleware serves them without a redirect
        telemetry={"metrics": False, "logs": False, "exclude": is_probe},  # traces alone
    )
    app.state.parts = State(
        authenticator=Authenticator(keys, RateLimits(settings.quota)),
        service=service,
        metrics=metrics,
        uploads=uploads,
    )
    _add_middleware(app, settings, service, metrics)
    app.include_router(image_router)
    app.include_router(router)
    app.include_router(probe_router)
    if settings.metrics.port is None:
        app.include_router(metrics_router)
    problems.install(app)
    page.install(app, settings.page, settings.http)
    openapi.install(app, keys=keys.required)
    return app


def create_metrics_app(app: FastAPI, settings: Settings) -> FastAPI:
    """Construct the application of the metrics port: metrics and probes without authentication.

    Args:
        app: the main application, which starts and stops the parts of both.
        settings: all of them.
    """
    state: State = app.state.parts
    second = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    second.state.parts = state

    @second.get("/metrics")
    def read_metrics() -> Response:
        return metrics_response(state)

    second.include_router(probe_router)
    second.add_middleware(HeadRequests)
    second.add_middleware(
        RequestChecks,
        host=settings.metrics.host,
        allowed_hosts=settings.http.allowed_hosts,
        origins=(),
        metrics=state["metrics"],
    )
    second.add_middleware(TrailingSlash)
    second.add_middleware(AccessLog, metrics=state["metrics"])
    second.add_middleware(ResponseHeaders)
    problems.install(second)
    return second


def _add_middleware(
    app: FastAPI, settings: Settings, service: EnhancementService, metrics: Metrics
) -> None:
    """Add the middleware, innermost first."""
    app.add_middleware(
        ResponseMemory, admission=service.admission, min_rate=settings.connection.min_read_rate
    )
    app.add_middleware(HeadRequests)
    app.add_middleware(
        LoadShedding, admission=service.admission, metrics=metrics, endpoints=IMAGE_ENDPOINTS
    )
    app.add_middleware(
        RequestChecks,
        host=settings.http.host,
        allowed_hosts=settings.http.allowed_hosts,
        origins=settings.cors.origins,
        metrics=metrics,
    )
    app.add_middleware(TrailingSlash)
    if settings.cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Encoding", "Content-Type", "X-Request-ID"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(AccessLog, metrics=metrics)
    app.add_middleware(ResponseHeaders)


def tune_process() -> None:
    """Keep freed memory, and switch threads sooner.

    A thread that returns from compiled code waits for the interpreter while a core idles, and so
    does a probe behind such a thread.
    """
    keep_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL)


def keep_freed_memory() -> None:
    """Reuse the memory of one image for the next, where the C library is glibc.

    By default glibc returns every large block to the system, which must clear its pages before it
    hands them out again: up to a fifth of the time of decoding a JPEG. One arena serves all
    threads, since the further arenas of glibc cannot grow beyond 64 MB. Memory stays at its peak,
    which admission control bounds.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_ARENA_MAX, 1),
        (_MMAP_THRESHOLD, _NEVER),
        (_TRIM_THRESHOLD, _NEVER),
    ):
        if not mallopt(parameter, value):
            log.warning(
                "glibc rejects the parameter %d of mallopt; memory may be slower", parameter
            )
