"""Serving over HTTP, and what can be set."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from app.cli.complaints import complaints
from app.luts.lut3d import Interpolation
from app.main import create_app, create_enhancer
from app.serving.compilation import compile_loops
from app.serving.process import prepare_process
from app.settings import Settings
from app.web import logs
from app.web.server import listener
from app.web.server import serve as serve_http

Host = Annotated[str | None, typer.Option(help="Instead of CLUT_HTTP_HOST.")]
Port = Annotated[int | None, typer.Option(help="Instead of CLUT_HTTP_PORT.")]


def serve(host: Host = None, port: Port = None) -> None:
    """Serve over HTTP; every setting is an environment variable, see `settings`."""
    prepare_process()
    given = {"host": host, "port": port}
    with complaints():
        settings = Settings.from_environment(
            http={name: value for name, value in given.items() if value is not None}
        )
        logs.configure(settings.log)
        enhancer = create_enhancer(settings)
        app = create_app(settings, enhancer)
        metrics = listener(settings.metrics)
    serve_http(app, enhancer, settings.http, settings.connection, metrics)


def settings() -> None:
    """Print every setting, its default and what it does, as a Markdown table."""
    for variable, default, description in Settings.variables():
        typer.echo(f"| `{variable}` | `{default}` | {description} |")


def compile_kernel() -> None:
    """Compile the inner loops for good, into NUMBA_CACHE_DIR; else it happens on first use."""
    compile_loops(get_args(Interpolation))
