"""LitServe and Pillow: `python -m benchmarks.peers.litserve_pillow PORT`.

Two workers and dynamic batching, as LitServe's documentation of its speed advises: `batch` and
`unbatch` are spelled out, so that thumbnails run together and photos of any sizes do not matter.
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


class Enhance(litserve.LitAPI):
    """Decode, predict in batches, apply and encode, in LitServe's own steps."""

    def setup(self, device: str) -> None:
        """Loads the network."""
        self.net = enhancing.network().to(device)

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="image/jpeg")]
    ) -> NDArray[np.uint8]:
        """Bytes to pixels."""
        return enhancing.opened(request)

    def batch(self, inputs: Photos) -> tuple[Photos, Tensor]:
        """Photos of any size share a batch of thumbnails."""
        return inputs, torch.cat([enhancing.thumbnail(photo) for photo in inputs])

    def predict(self, batch: tuple[Photos, Tensor]) -> list[bytes]:
        """The LUTs of all, then each photo through its own."""
        photos, thumbnails = batch
        tables = enhancing.tables(self.net, thumbnails)
        pairs = zip(photos, tables, strict=True)
        return [enhancing.saved(enhancing.through_pillow(*pair)) for pair in pairs]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """Nothing is left to split."""
        return output

    def encode_response(self, output: bytes) -> Any:
        """The bytes as they are."""
        return Response(output, media_type="image/jpeg")


if __name__ == "__main__":
    api = Enhance(max_batch_size=BATCH, batch_timeout=PATIENCE, api_path="/enhance")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="error")
