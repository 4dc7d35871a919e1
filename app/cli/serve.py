"""Serving over HTTP."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from app.cli.console import exit_on_error
from app.luts.lut3d import Interpolation
from app.main import create_app, create_metrics_app, create_service, tune_process
from app.serving.device import compile_loops
from app.settings import Settings
from app.web import observability
from app.web.run import open_metrics_socket
from app.web.run import serve as serve_http

Host = Annotated[str | None, typer.Option(help="Instead of CLUT_HTTP_HOST.")]
Port = Annotated[int | None, typer.Option(help="Instead of CLUT_HTTP_PORT.")]


def serve(host: Host = None, port: Port = None) -> None:
    """Serve over HTTP.

    `settings` lists the environment variables.
    """
    tune_process()
    given = {"host": host, "port": port}
    with exit_on_error():
        settings = Settings.from_environment(
            http={name: value for name, value in given.items() if value is not None}
        )
        observability.configure(settings.log)
        service = create_service(settings)
        app = create_app(settings, service)
        listener = open_metrics_socket(settings.metrics)
    metrics = None if listener is None else (create_metrics_app(app, settings), listener)
    serve_http(app, service, settings.http, settings.connection, metrics)


def compile_kernel() -> None:
    """Compile the inner loops into NUMBA_CACHE_DIR.

    Otherwise each is compiled on its first use.
    """
    compile_loops(get_args(Interpolation))
