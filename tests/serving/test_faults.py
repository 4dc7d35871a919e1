"""A device that fails: which items fail, and whether the service is alive."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.networks.base import LutBatch, Network
from app.policies import BatchPolicy, DevicePolicy
from app.serving.batching import Batcher
from app.serving.device import Device, Prediction

pytestmark = pytest.mark.anyio

FAULTY = 0.5


class Faulty(Network):
    """A network that runs out of memory, fails on an item, or always fails."""

    architecture = "faulty"

    def __init__(self) -> None:
        super().__init__(code_size=1, d=2)
        self.most = 8
        self.broken = False

    def encode(self, thumbnails: Tensor) -> Tensor:
        """Return the corner of each thumbnail, or raise."""
        corners = thumbnails[:, 0, 0, :1]
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if len(thumbnails) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if FAULTY in corners:
            raise RuntimeError("a faulty item")
        return corners

    def codes(self, features: Tensor) -> Tensor:
        """Raise: nothing calls this."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> LutBatch:
        """Return a table filled with each code."""
        return LutBatch(codes[:, :, None, None, None].expand(-1, 3, 2, 2, 2))


def thumbnail(corner: float) -> np.ndarray:
    """Make a thumbnail with a value in its corner."""
    return np.full((3, 8, 8), corner, np.float32)


async def predict_together(device: Device, network: Network, corners: list[float]) -> list[Any]:
    """Submit items at the same time; return their codes or errors."""
    run = partial(device.predict, network, 8)
    async with Batcher[np.ndarray, Prediction](run, BatchPolicy(max_wait=0.2)) as batcher:
        results = await asyncio.gather(
            *(batcher.submit(thumbnail(corner)) for corner in corners), return_exceptions=True
        )
        assert batcher.alive
    return [it if isinstance(it, BaseException) else float(it.code[0]) for it in results]


async def test_a_batch_that_exceeds_the_memory_is_split() -> None:
    """A batch that does not fit is split, and its items are run alone."""
    network = Faulty()
    network.most = 1
    async with Device(DevicePolicy(name="cpu")) as device:
        assert await predict_together(device, network, [1, 2, 3, 4]) == [1, 2, 3, 4]
        assert device.healthy


async def test_a_faulty_item_fails_alone() -> None:
    """The other items of the batch get their results, and the device stays healthy."""
    async with Device(DevicePolicy(name="cpu", max_failures=3)) as device:
        for _ in range(5):
            results = await predict_together(device, Faulty(), [1, FAULTY, 3, 4])
            assert [results[0], *results[2:]] == [1, 3, 4]
            assert "faulty" in str(results[1])
            assert device.healthy


async def test_a_broken_device_fails_liveness() -> None:
    """When nothing succeeds any more, only a restart helps; a success clears that."""
    network = Faulty()
    async with Device(DevicePolicy(name="cpu", max_failures=5)) as device:
        network.broken = True
        results = await predict_together(device, network, [1, 2, 3, 4])
        assert all(isinstance(it, RuntimeError) for it in results)
        assert not device.healthy
        network.broken = False
        assert await predict_together(device, network, [1]) == [1]
        assert device.healthy
