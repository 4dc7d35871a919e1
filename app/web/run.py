"""The listening process: sockets, signals, shutdown."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from app.policies import ConnectionPolicy, HttpPolicy, MetricsPolicy
from app.serving.service import EnhancementService
from app.web.connection_slots import ConnectionSlots
from app.web.metrics import Metrics
from app.web.observability import flush_logs
from app.web.protocol import HttpProtocol

log = logging.getLogger("clut")


class Server(uvicorn.Server):
    """Listens on the main port and the metrics port; handles signals.

    After SIGTERM it accepts requests for a while, with 503 on /readyz: load balancers learn of a
    stop with a delay. A second signal ends the process at once.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: EnhancementService,
        drain_seconds: float,
        metrics: tuple[Callable[..., HttpProtocol], socket.socket] | None = None,
    ) -> None:
        super().__init__(config)
        self._service = service
        self._drain_seconds = drain_seconds
        self._metrics = metrics
        self._reloads: set[asyncio.Task[None]] = set()  # the event loop alone would forget them

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- uvicorn's
        """Drain, then stop; on a second signal end the process with status 1.

        uvicorn would raise the signal again in the end; here the process ends with 0, since a
        requested stop is no failure.
        """
        if self.should_exit or self._service.draining:
            log.error("second signal: %d requests were cut off", len(self.server_state.tasks))
            flush_logs()
            os._exit(1)  # threads may be in the middle of an image
        self._service.draining = True
        if sig == signal.SIGTERM and self._drain_seconds:
            asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)
        else:
            self._stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and reload the models on SIGHUP."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        if self._metrics is not None:
            create_protocol, listener = self._metrics
            protocol = partial(create_protocol, server_state=self.server_state, app_state={})
            self.servers.append(await loop.create_server(protocol, sock=listener))
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        task = asyncio.ensure_future(reload_models(self._service))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    def _stop(self) -> None:
        self.should_exit = True


async def reload_models(service: EnhancementService) -> None:
    """Read the model store again, and log the result."""
    try:
        await service.reload()
    except Exception:
        log.exception("the model store could not be read; nothing has changed")
    else:
        labels = [model.card.model_ref for model in service.models.registry.models]
        log.info("the model store was read again: %s", ", ".join(labels))


def open_metrics_socket(policy: MetricsPolicy) -> socket.socket | None:
    """Listen on the metrics port, if one is configured.

    Raises:
        OSError: the port is in use, or the address is not of this machine.
    """
    return None if policy.port is None else socket.create_server((policy.host, policy.port))


def serve(
    app: FastAPI,
    service: EnhancementService,
    policy: HttpPolicy,
    connections: ConnectionPolicy,
    metrics: tuple[FastAPI, socket.socket] | None = None,
) -> None:
    """Listen until a signal arrives, and then until the requests in flight are completed.

    Args:
        app: the main application.
        service: the service behind it.
        policy: the main port, and how to stop.
        connections: the limits of each port.
        metrics: the application of the metrics port and its socket.
    """
    config, _ = _configure(app, policy, connections)
    if metrics is None:
        Server(config, service, policy.drain_seconds).run()
        return
    second, protocol = _configure(metrics[0], policy, connections)
    second.load()
    listening = partial(protocol, config=second), metrics[1]
    Server(config, service, policy.drain_seconds, listening).run()


def _configure(
    app: FastAPI, policy: HttpPolicy, connections: ConnectionPolicy
) -> tuple[uvicorn.Config, Callable[..., HttpProtocol]]:
    """Return uvicorn's configuration for a port, and the protocol of its connections."""
    metrics: Metrics = app.state.parts["metrics"]
    protocol = partial(HttpProtocol, connections, ConnectionSlots(connections.max), metrics)
    config = uvicorn.Config(
        app,
        host=policy.host,
        port=policy.port,
        http=cast("type[HttpProtocol]", protocol),  # uvicorn only calls it
        ws="none",
        server_header=False,
        log_config=None,
        access_log=False,  # app.web.middleware logs requests
        timeout_keep_alive=round(connections.keep_alive_timeout),
        timeout_graceful_shutdown=policy.graceful_timeout,
    )
    return config, protocol
