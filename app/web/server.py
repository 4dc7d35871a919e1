"""The process that listens."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.serving.enhancer import Enhancer
from app.web.state import HttpPolicy


class Server(uvicorn.Server):
    """Goes on listening for a while after SIGTERM, and says on /readyz that it is leaving.

    Load balancers learn of a stopping replica later than the replica does; whoever still comes
    meanwhile is answered. A second signal, or Ctrl-C, does not wait.
    """

    def __init__(self, config: uvicorn.Config, enhancer: Enhancer, drain_seconds: float) -> None:
        super().__init__(config)
        self._enhancer = enhancer
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- uvicorn's
        """Begins to drain, then stops; a signal while stopping cuts off what is left.

        The signal is not raised again in the end, as uvicorn does: to have been told to stop is
        no failure, and the process ends with 0.
        """
        if self.should_exit:
            self.force_exit = True
        elif sig == signal.SIGTERM and self._drain_seconds and not self._enhancer.draining:
            self._enhancer.draining = True
            asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)
        else:
            self._stop()

    def _stop(self) -> None:
        self.should_exit = True


def serve(app: FastAPI, enhancer: Enhancer, policy: HttpPolicy) -> None:
    """Listens until told to stop, and then until requests under way have their answers."""
    config = uvicorn.Config(
        app,
        host=policy.host,
        port=policy.port,
        server_header=False,
        access_log=policy.access_log,
        timeout_graceful_shutdown=policy.stop_seconds,
    )
    Server(config, enhancer, policy.drain_seconds).run()
