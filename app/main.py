"""The application: the only place that constructs its parts and wires them together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import Depends, FastAPI
from loky import cpu_count
from starlette.middleware.cors import CORSMiddleware

from app.imaging.isolation import Isolation
from app.networks.store import read_catalogue
from app.serving.admission import Admission
from app.serving.device import Device
from app.serving.enhancer import Enhancer
from app.serving.workers import Workers
from app.settings import Settings
from app.web import docs, openapi, problems
from app.web.access import Access, check_port
from app.web.body import Uploads
from app.web.door import Door
from app.web.head import Head
from app.web.keys import KeyRing, check_exposure
from app.web.metrics import Metrics
from app.web.quotas import Quotas
from app.web.routes import photos, router
from app.web.shield import EXPOSED, Shield
from app.web.state import State
from app.web.telemetry import Telemetry
from app.web.tracing import is_probe

DESCRIPTION = """Makes photographs look better with image-adaptive 3D LUTs (CLUT-Net).

    curl --data-binary @photo.jpg localhost:8000/enhance -o better.jpg
    curl --data-binary @photo.jpg localhost:8000/lut -o look.cube
"""


def create_enhancer(settings: Settings, threads: int | None = None) -> Enhancer:
    """The service without HTTP, cold: entering it starts it.

    Args:
        settings: all of them.
        threads: for pixels; None is one for each core that the cgroup and affinity leave us.

    Raises:
        BadModel: the default model cannot be read.
        UnknownModel: the default model is not in the store.
        RuntimeError: the device that is asked for is not there.
    """
    return Enhancer(
        partial(read_catalogue, settings.models.store, settings.models.default),
        Device(settings.device),
        Admission(settings.admission),
        Workers(threads or cpu_count()),
        Isolation(),
        batch=settings.batch,
        luts=settings.lut,
        limits=settings.image,
        deadline=settings.admission.deadline,
    )


def create_app(settings: Settings, enhancer: Enhancer) -> FastAPI:
    """The service behind HTTP; starting it enters the enhancer, stopping it leaves.

    Raises:
        OSError, ValueError: the file of API keys cannot be read, or keys are needed.
    """
    keys = KeyRing(settings.auth)
    check_exposure(settings.http.host, keys, settings.auth)
    access = Access(keys, Quotas(settings.quota), settings.metrics.port)
    metrics = Metrics()
    uploads = Uploads(settings.upload)
    metrics.watch(enhancer, uploads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with enhancer:
            yield State(
                access=access,
                door=Door(enhancer.admission, metrics, photos.routes),
                enhancer=enhancer,
                metrics=metrics,
                uploads=uploads,
            )

    app = FastAPI(
        title="clut-enhance",
        version=version("clut-enhance"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # app.web.docs has it, without another host
        redoc_url=None,
        redirect_slashes=False,  # to an address of the caller's making: that of the Host header
        dependencies=[Depends(check_port)],
        telemetry={"metrics": False, "logs": False, "exclude": is_probe},  # traces alone
    )
    app.add_middleware(Head)
    app.add_middleware(Shield)
    if settings.cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(Telemetry, metrics=metrics)
    app.include_router(photos)
    app.include_router(router)
    problems.install(app)
    docs.install(app)
    openapi.install(app, keys=keys.required)
    return app
