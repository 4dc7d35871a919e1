"""The service as an application of Ray Serve: `serve run app.ray_app:application`.

There is one deployment. Each replica is the whole service, as `clut-enhance serve` runs it, in a
process of its own. docs/performance.md has the measurements behind that choice and behind the
constants. Needs the extra `ray`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import ray
from loky import cpu_count
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import BackpressureConfig, LoggingConfig  # type: ignore[attr-defined]
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.main import create_app, create_service, tune_process
from app.settings import Settings
from app.web import observability
from app.web.problems import REQUEST_ID_HEADER

UTILISATION = 0.7  # target share of busy cores: docs/performance.md
START_SECONDS = 10.0  # until a new replica is warm
BIND_ALL = "0.0.0.0"  # noqa: S104 -- Ray's proxies may listen anywhere, so keys are required


class ReplicaConfig(BaseModel):
    """The number of replicas and the resources of each: arguments of `serve run`, as NAME=VALUE.

    Attributes:
        cores: CPU cores of each replica, which starts as many threads.
        gpus: GPUs of each replica.
        min_replicas: replicas that run without load.
        max_replicas: replicas that run under full load.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: int = Field(default=2, ge=1)
    gpus: float = Field(default=0.0, ge=0.0)
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=8, ge=1)


class Replica:
    """Adapts the app to Ray's proxy where the proxy differs from an ASGI server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remove X-Request-ID from the response."""

        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[REQUEST_ID_HEADER]  # the proxy adds it
            await send(message)

        await self._app(scope, receive, send_without_id)


@serve.deployment(name="clut-enhance")
@serve.ingress()
class Service:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        tune_process()
        observability.configure(settings.log)
        self._settings = settings
        self._service = create_service(settings, replica_cores())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the app; Ray calls this after `__init__` and then enters the app's lifespan."""
        return Replica(create_app(self._settings, self._service))

    async def check_health(self) -> None:
        """Check the replica; Ray calls this before the first request and then periodically.

        Raises:
            RuntimeError: the replica needs a restart, which Ray then does.
            Exception: the warm-up failed with it.
        """
        await self._service.models.wait_until_warm()
        if not self._service.alive:
            raise RuntimeError("a loop that requests depend on has ended, or the device is broken")


def application(arguments: Mapping[str, Any]) -> serve.Application:
    """Return the application, with the settings of the environment.

    Args:
        arguments: the fields of `ReplicaConfig`, as Ray has read them.

    Raises:
        ValueError: an argument is unknown or out of range; also as `Settings.from_environment`.
    """
    config = ReplicaConfig.model_validate(arguments)
    settings = Settings.from_environment(http={"host": BIND_ALL})
    capacity = settings.admission.max_requests
    deployment = Service.options(  # type: ignore[attr-defined]
        ray_actor_options={"num_cpus": config.cores, "num_gpus": config.gpus},
        autoscaling_config=autoscaling(config),
        # Twice the capacity of the replica, so that the replica rejects, with a problem document.
        # Further requests wait in the proxy; beyond the queue Ray rejects, without a document.
        max_ongoing_requests=2 * capacity,
        max_queued_requests=capacity,
        backpressure_config=BackpressureConfig(retry_after_s=1),
        graceful_shutdown_timeout_s=settings.http.graceful_timeout,
        health_check_period_s=5,
        health_check_timeout_s=15,  # as the liveness probe of deploy/k8s
        logging_config=LoggingConfig(enable_access_log=False),  # app.web.middleware writes one
    )
    bound: serve.Application = deployment.bind(settings)
    return bound


def autoscaling(config: ReplicaConfig) -> AutoscalingConfig:
    """Return the policy that plans one replica for each `target_ongoing_requests`."""
    return AutoscalingConfig(
        min_replicas=config.min_replicas,
        max_replicas=config.max_replicas,
        target_ongoing_requests=round(target_ongoing_requests(config.cores), 1),
        # A new replica helps once it is warm. A longer look at the load would double the wait; a
        # shorter one would start replicas for bursts that end before they are warm.
        look_back_period_s=START_SECONDS,
        upscale_delay_s=START_SECONDS / 2,
        metrics_interval_s=1,
        # An idle replica costs memory alone; a new one costs START_SECONDS of waiting.
        downscale_delay_s=300,
    )


def target_ongoing_requests(cores: int) -> float:
    """Return the mean number of running and waiting requests at `UTILISATION` (M/M/c).

    The number does not depend on the service time, which differs between photos by a factor of 20.
    Erlang's C formula, computed by the recurrence of Erlang's B formula.
    """
    load = cores * UTILISATION
    blocked = 1.0
    for servers in range(1, cores + 1):
        blocked = load * blocked / (servers + load * blocked)
    waits = blocked / (1 - UTILISATION * (1 - blocked))
    return load + waits * UTILISATION / (1 - UTILISATION)


def replica_cores() -> int:
    """Return the number of cores that Ray assigned to this replica and that the machine has."""
    resources: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    return min(ceil(resources.get("CPU", 1.0)), int(cpu_count()))
