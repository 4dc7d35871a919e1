"""The process that listens."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from app.policies import ConnectionPolicy, HttpPolicy, MetricsPolicy
from app.serving.service import EnhancementService
from app.web.protocol import HttpProtocol

log = logging.getLogger("clut")


class Server(uvicorn.Server):
    """Goes on listening for a while after SIGTERM, and says on /readyz that it is leaving.

    Load balancers learn of a stopping replica later than the replica does; whoever still comes
    meanwhile is answered. A second signal, or Ctrl-C, does not wait.
    """

    def __init__(
        self, config: uvicorn.Config, service: EnhancementService, drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._service = service
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- uvicorn's
        """Begins to drain, then stops; a signal while stopping cuts off what is left.

        The signal is not raised again in the end, as uvicorn does: to have been told to stop is
        no failure, and the process ends with 0.
        """
        if self.should_exit:
            self.force_exit = True
        elif sig == signal.SIGTERM and self._drain_seconds and not self._service.draining:
            self._service.draining = True
            asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)
        else:
            self._stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and reads the model store again on SIGHUP."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        self._reloading = asyncio.ensure_future(reload_models(self._service))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for requests under way; who was told twice waits for nothing, and says so."""
        await super().shutdown(sockets)
        if self.force_exit:
            cut = len(self.server_state.tasks)
            log.error("told to stop at once: %d requests were cut off", cut)
            os._exit(1)  # threads may be in the middle of a photograph

    def _stop(self) -> None:
        self.should_exit = True


async def reload_models(service: EnhancementService) -> None:
    """Reads the model store again; the log says how that went."""
    try:
        await service.reload()
    except Exception:
        log.exception("the model store could not be read again; nothing has changed")
    else:
        labels = [model.card.model_ref for model in service.models.registry.models]
        log.info("the model store was read again: %s", ", ".join(labels))


def open_metrics_socket(policy: MetricsPolicy) -> socket.socket | None:
    """The port that is for metrics alone, if one is wished for.

    Raises:
        OSError: it is taken, or the address is not of this machine.
    """
    return None if policy.port is None else socket.create_server((policy.host, policy.port))


def serve(
    app: FastAPI,
    service: EnhancementService,
    policy: HttpPolicy,
    connections: ConnectionPolicy,
    metrics: socket.socket | None = None,
) -> None:
    """Listens until told to stop, and then until requests under way have their answers."""
    config = uvicorn.Config(
        app,
        host=policy.host,
        port=policy.port,
        http=cast("type[HttpProtocol]", partial(HttpProtocol, connections)),  # it is only called
        ws="none",
        server_header=False,
        log_config=None,
        access_log=False,  # Telemetry has a line of its own for every request
        timeout_graceful_shutdown=policy.graceful_timeout,
    )
    server = Server(config, service, policy.drain_seconds)
    server.run(None if metrics is None else [config.bind_socket(), metrics])
