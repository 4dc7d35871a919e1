"""The application: the only place that constructs its parts and wires them together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_swagger import patch_fastapi
from loky import cpu_count

from app.networks.store import Catalogue, read_store
from app.serving.admission import Admission
from app.serving.device import Device
from app.serving.enhancer import Enhancer
from app.serving.workers import Workers
from app.settings import Settings
from app.web import problems
from app.web.body import Uploads
from app.web.metrics import Metrics
from app.web.routes import router
from app.web.state import State
from app.web.telemetry import Telemetry
from app.web.tracing import is_probe

DESCRIPTION = """Makes photographs look better with image-adaptive 3D LUTs (CLUT-Net).

    curl --data-binary @photo.jpg localhost:8000/enhance -o better.jpg
    curl --data-binary @photo.jpg localhost:8000/lut -o look.cube
"""


def create_enhancer(settings: Settings) -> Enhancer:
    """The service without HTTP, cold: entering it starts it.

    Raises:
        BadModel: the model store holds a model that cannot be read.
        UnknownModel: the default model is not in the store.
        RuntimeError: the device that is asked for is not there.
    """
    return Enhancer(
        Catalogue(read_store(settings.models.store), settings.models.default),
        Device(settings.device),
        Admission(settings.admission),
        Workers(cpu_count()),
        batch=settings.batch,
        luts=settings.lut,
        limits=settings.image,
        deadline=settings.admission.deadline,
    )


def create_app(settings: Settings, enhancer: Enhancer) -> FastAPI:
    """The service behind HTTP; starting it enters the enhancer, stopping it leaves."""
    metrics = Metrics()
    metrics.watch(enhancer)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with enhancer:
            yield State(enhancer=enhancer, metrics=metrics, uploads=Uploads(settings.upload))

    app = FastAPI(
        title="clut-enhance",
        version=version("clut-enhance"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # the page comes from fastapi-swagger, which needs no other host
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        telemetry={"metrics": False, "logs": False, "exclude": is_probe},  # traces alone
    )
    app.add_middleware(Telemetry, metrics=metrics)
    app.include_router(router)
    problems.install(app)
    patch_fastapi(app)
    return app
