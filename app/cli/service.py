"""Serving over HTTP, and what can be set."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.complaints import complaints
from app.luts.kernel import compile_loops
from app.main import create_app, create_enhancer
from app.serving.malloc import keep_freed_memory
from app.settings import Settings
from app.web.server import serve as serve_http

Host = Annotated[str | None, typer.Option(help="Instead of CLUT_HTTP_HOST.")]
Port = Annotated[int | None, typer.Option(help="Instead of CLUT_HTTP_PORT.")]


def serve(host: Host = None, port: Port = None) -> None:
    """Serve over HTTP; every setting is an environment variable, see `settings`."""
    keep_freed_memory()
    with complaints():
        settings = Settings.from_environment()
        enhancer = create_enhancer(settings)
    given = {"host": host, "port": port}
    http = settings.http.model_copy(update={k: v for k, v in given.items() if v is not None})
    serve_http(create_app(settings, enhancer), enhancer, http)


def settings() -> None:
    """Print every setting, its default and what it does, as a Markdown table."""
    for variable, default, description in Settings.variables():
        typer.echo(f"| `{variable}` | `{default}` | {description} |")


def compile_kernel() -> None:
    """Compile the pixel kernel for good, into NUMBA_CACHE_DIR; else it happens on first use."""
    compile_loops()
