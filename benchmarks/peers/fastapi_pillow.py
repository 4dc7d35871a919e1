"""FastAPI with Pillow: `uvicorn benchmarks.peers.fastapi_pillow:app --workers 2`.

The endpoint is a plain function, so FastAPI runs it in its thread pool; one process per core, as
FastAPI's page on deployment advises.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, FastAPI, Response

from benchmarks.peers import enhancing

app = FastAPI()
net = enhancing.load_network()


@app.post("/enhance")
def enhance(body: Annotated[bytes, Body(media_type="image/jpeg")]) -> Response:
    """Return the image with its LUT applied."""
    pixels = enhancing.decode(body)
    table = enhancing.predict(net, enhancing.make_thumbnail(pixels))[0]
    output = enhancing.encode(enhancing.apply_pillow(pixels, table))
    return Response(output, media_type="image/jpeg")


@app.get("/health")
def health() -> str:
    """Return when the network is loaded."""
    return "ok"
