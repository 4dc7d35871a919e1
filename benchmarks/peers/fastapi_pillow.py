"""FastAPI and Pillow: `uvicorn benchmarks.peers.fastapi_pillow:app --workers 2`.

The endpoint is a plain function, so FastAPI runs it in its thread pool; a process a core, as
FastAPI's page on deployment advises.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, FastAPI, Response

from benchmarks.peers import enhancing

app = FastAPI()
net = enhancing.network()


@app.post("/enhance")
def enhance(body: Annotated[bytes, Body(media_type="image/jpeg")]) -> Response:
    """Answers the photo through its LUT."""
    pixels = enhancing.opened(body)
    table = enhancing.tables(net, enhancing.thumbnail(pixels))[0]
    answer = enhancing.saved(enhancing.through_pillow(pixels, table))
    return Response(answer, media_type="image/jpeg")


@app.get("/health")
def health() -> str:
    """Answers once the network is there."""
    return "ok"
