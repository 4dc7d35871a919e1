"""The service as an application of Ray Serve: `serve run deploy.ray.service:application`.

One deployment: each replica is the whole service, as `clut-enhance serve` has it, in a process of
its own. docs/ray.md has the measurements behind that, and behind every figure here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import ray
from fastapi import FastAPI
from loky import cpu_count
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import BackpressureConfig, LoggingConfig
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.main import create_app, create_service
from app.serving.tuning import tune_process
from app.settings import Settings
from app.web import observability
from app.web.request_id import HEADER

UTILISATION = 0.7  # of the cores, that is planned for: docs/capacity.md
START_SECONDS = 10.0  # until a new replica is warm
ELSEWHERE = "0.0.0.0"  # noqa: S104 -- Ray's proxies may listen anywhere, so keys are asked for


class Fleet(BaseModel):
    """How many replicas, and what each has: arguments of `serve run`, as NAME=VALUE.

    Attributes:
        cores: of each replica; it starts as many threads.
        gpus: of each replica.
        least: replicas that always run.
        most: replicas under load.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: int = Field(default=2, ge=1)
    gpus: float = Field(default=0.0, ge=0.0)
    least: int = Field(default=1, ge=1)
    most: int = Field(default=8, ge=1)


class Replica:
    """The app as Ray's proxy expects it, where that differs from an ASGI server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, with the lifespan's state, and an answer back, without its name."""

        async def send_unnamed(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[HEADER]  # the proxy adds the same
            await send(message)

        if scope["type"] == "lifespan":
            self._state = scope["state"]  # the app fills it
            await self._app(scope, receive, send)
        else:
            scope["state"] = self._state | scope.get("state", {})
            await self._app(scope, receive, send_unnamed)


@serve.deployment(name="clut-enhance")
@serve.ingress()
class Service:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        tune_process()
        observability.configure(settings.log)
        self._settings = settings
        self._service = create_service(settings, cores())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Ray calls once the replica is made; it then enters the lifespan."""
        app: FastAPI = create_app(self._settings, self._service)
        return Replica(app)

    async def check_health(self) -> None:
        """Asked before the first request, and then every few seconds.

        Raises:
            RuntimeError: only a restart helps, which Ray then does.
            Exception: what the warm-up failed with.
        """
        await self._service.wait_until_warm()
        if not self._service.alive:
            raise RuntimeError("a loop that requests depend on has ended, or the device is broken")


def application(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, with the settings of the environment.

    Args:
        arguments: those of `Fleet`, as Ray has read them.

    Raises:
        ValueError: an argument is not one, or as `Settings.from_environment`.
    """
    fleet = Fleet.model_validate(arguments)
    settings = Settings.from_environment(http={"host": ELSEWHERE})
    house = settings.admission.max_requests
    deployment = Service.options(
        ray_actor_options={"num_cpus": fleet.cores, "num_gpus": fleet.gpus},
        autoscaling_config=autoscaling(fleet),
        # Twice what the house lets in, so that it is the house that refuses, with a problem
        # document; beyond, requests wait in the proxy, and beyond that Ray refuses, without one.
        max_ongoing_requests=2 * house,
        max_queued_requests=house,
        backpressure_config=BackpressureConfig(retry_after_s=1),
        graceful_shutdown_timeout_s=settings.http.graceful_timeout,
        health_check_period_s=5,
        health_check_timeout_s=15,  # as the liveness probe of deploy/k8s
        logging_config=LoggingConfig(enable_access_log=False),  # app.web.middleware has one
    )
    return deployment.bind(settings)


def autoscaling(fleet: Fleet) -> AutoscalingConfig:
    """One replica for as many requests as it holds when its cores are busy for `UTILISATION`."""
    return AutoscalingConfig(
        min_replicas=fleet.least,
        max_replicas=fleet.most,
        target_ongoing_requests=round(in_the_house(fleet.cores), 1),
        # A replica helps no sooner than it is warm: to look longer at the load than that takes
        # would double the wait, to look shorter would start it for a burst that is over by then.
        look_back_period_s=START_SECONDS,
        upscale_delay_s=START_SECONDS / 2,
        metrics_interval_s=1,
        # Idle replicas cost memory alone, and a new one START_SECONDS of waiting.
        downscale_delay_s=300,
    )


def in_the_house(cores: int) -> float:
    """The mean number of requests at `UTILISATION`: those at work, and those who wait (M/M/c).

    It depends on the service time in no way, which is why it is what is scaled on: photographs
    differ in cost by a factor of 20. Erlang's formula, by its recurrence.
    """
    load = cores * UTILISATION
    blocked = 1.0
    for servers in range(1, cores + 1):
        blocked = load * blocked / (servers + load * blocked)
    waits = blocked / (1 - UTILISATION * (1 - blocked))
    return load + waits * UTILISATION / (1 - UTILISATION)


def cores() -> int:
    """What Ray has given to this replica, where the machine has as much."""
    given = ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0)
    return min(ceil(given), cpu_count())
