"""LitServe with Pillow: `python -m benchmarks.peers.litserve_pillow PORT`.

Two workers and dynamic batching, as LitServe's documentation of its speed advises: `batch` and
`unbatch` are defined, so that images of different sizes share a batch of thumbnails.
"""

# LitServe reads the annotation of `decode_request` itself, so it must not be a string.

import sys
from typing import Annotated, Any

import litserve
import numpy as np
import torch
from fastapi import Body, Response
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.peers import enhancing

WORKERS = 2
BATCH = 8
PATIENCE = 0.01  # seconds to wait for a batch

Photos = list[NDArray[np.uint8]]


class Enhance(litserve.LitAPI):  # type: ignore[misc]
    """Decode, predict in batches, apply and encode, in LitServe's own steps."""

    def setup(self, device: str) -> None:
        """Load the network."""
        self.net = enhancing.load_network().to(device)

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="image/jpeg")]
    ) -> NDArray[np.uint8]:
        """Decode an image."""
        return enhancing.decode(request)

    def batch(self, inputs: Photos) -> tuple[Photos, Tensor]:
        """Collect the thumbnails of images of any size."""
        return inputs, torch.cat([enhancing.make_thumbnail(photo) for photo in inputs])

    def predict(self, batch: tuple[Photos, Tensor]) -> list[bytes]:
        """Predict all LUTs, then apply each to its image."""
        photos, thumbnails = batch
        tables = enhancing.predict(self.net, thumbnails)
        pairs = zip(photos, tables, strict=True)
        return [enhancing.encode(enhancing.apply_pillow(*pair)) for pair in pairs]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """Return the output, which is a list already."""
        return output

    def encode_response(self, output: bytes) -> Any:
        """Return the bytes as a response."""
        return Response(output, media_type="image/jpeg")


if __name__ == "__main__":
    api = Enhance(max_batch_size=BATCH, batch_timeout=PATIENCE, api_path="/enhance")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="error")
