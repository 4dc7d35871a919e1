"""The page at / and its files; its policy allows neither inline scripts nor other hosts.

Among the files are the weights of the embedded default model, for browsers that predict looks by
themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.access import is_loopback
from app.model_files import WEIGHTS, next_version
from app.policies import STORE, HttpPolicy, PagePolicy

FILES = Path(__file__).parent / "static"
LOCAL_WEIGHTS = "default.safetensors"

# Browsers check whether a file has changed before they use their copy, so that no page mixes the
# files of two versions.
CACHE = {"Cache-Control": "no-cache"}
POLICY = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
}


class _PageFiles(StaticFiles):
    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        if path != LOCAL_WEIGHTS:
            return super().lookup_path(path)
        folder = STORE / "default"
        weights = folder / str(next_version(folder) - 1) / WEIGHTS
        return str(weights), weights.stat()

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(CACHE)
        return response


def install(app: FastAPI, page: PagePolicy, http: HttpPolicy) -> None:
    """Add the page at / and its files at /static; where it is off, / redirects to /docs."""
    if not (is_loopback(http.host) if page.enabled is None else page.enabled):

        @app.get("/", include_in_schema=False)
        async def redirect() -> Response:
            return RedirectResponse("docs")

        return

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return FileResponse(FILES / "index.html", headers=CACHE | POLICY)

    app.mount("/static", _PageFiles(directory=FILES), name="static")
