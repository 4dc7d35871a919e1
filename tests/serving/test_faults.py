"""A device that fails: whom it hurts, and who is told."""

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

POISON = 0.5


class Faulty(Network):
    """A network on a device that runs out of memory, stumbles over an item, or has broken."""

    architecture = "faulty"

    def __init__(self) -> None:
        super().__init__(code_size=1, d=2)
        self.most = 8
        self.broken = False

    def encode(self, thumbnails: Tensor) -> Tensor:
        """The corner of each thumbnail, or a failure."""
        corners = thumbnails[:, 0, 0, :1]
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if len(thumbnails) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if POISON in corners:
            raise RuntimeError("a poisoned item")
        return corners

    def codes(self, features: Tensor) -> Tensor:
        """Is not asked."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> LutBatch:
        """A table of each code alone."""
        return LutBatch(codes[:, :, None, None, None].expand(-1, 3, 2, 2, 2))


def thumbnail(corner: float) -> np.ndarray:
    """A thumbnail with a value in its corner."""
    return np.full((3, 8, 8), corner, np.float32)


async def together(device: Device, network: Network, corners: list[float]) -> list[Any]:
    """What becomes of items that are submitted at the same time: codes, or errors."""
    run = partial(device.predict, network, 8)
    async with Batcher[np.ndarray, Prediction](run, BatchPolicy(max_wait=0.2)) as batcher:
        answers = await asyncio.gather(
            *(batcher.submit(thumbnail(corner)) for corner in corners), return_exceptions=True
        )
        assert batcher.alive
    return [a if isinstance(a, BaseException) else float(a.code[0]) for a in answers]


async def test_out_of_memory_on_a_batch_hurts_nobody() -> None:
    """A batch that does not fit is split, and its items are answered alone."""
    network = Faulty()
    network.most = 1
    async with Device(DevicePolicy(name="cpu")) as device:
        assert await together(device, network, [1, 2, 3, 4]) == [1, 2, 3, 4]
        assert device.healthy


async def test_a_poisoned_item_fails_alone() -> None:
    """Its neighbours in the batch get their answers, and the device is not given up."""
    async with Device(DevicePolicy(name="cpu", max_failures=3)) as device:
        for _ in range(5):
            answers = await together(device, Faulty(), [1, POISON, 3, 4])
            assert [answers[0], *answers[2:]] == [1, 3, 4]
            assert "poisoned" in str(answers[1])
            assert device.healthy


async def test_a_broken_device_fails_liveness() -> None:
    """When nothing succeeds any more, the process asks to be restarted; a success clears it."""
    network = Faulty()
    async with Device(DevicePolicy(name="cpu", max_failures=5)) as device:
        network.broken = True
        answers = await together(device, network, [1, 2, 3, 4])
        assert all(isinstance(answer, RuntimeError) for answer in answers)
        assert not device.healthy
        network.broken = False
        assert await together(device, network, [1]) == [1]
        assert device.healthy
