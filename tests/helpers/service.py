"""The service without HTTP: a device that holds requests, and requests as endpoints make them."""

from __future__ import annotations

import asyncio
import threading

from numpy.typing import DTypeLike

from app.luts.apply import Applier
from app.luts.export import LutOptions
from app.luts.local_lut import AnyLut
from app.policies import DevicePolicy
from app.serving.device import Device
from app.serving.results import ExportedLut
from app.serving.service import EnhancementService


class GatedDevice(Device):
    """A device that applies no LUT while its gate is closed: requests stay in the stage apply."""

    def __init__(self) -> None:
        super().__init__(DevicePolicy(name="cpu"))
        self.reached = threading.Event()
        self._opened = threading.Event()
        self._opened.set()

    def close_gate(self) -> None:
        """Hold the next request; call it after the warm-up."""
        self._opened.clear()

    def open_gate(self) -> None:
        """Let all requests pass."""
        self._opened.set()

    async def wait_until_reached(self) -> None:
        """Wait until a thread stands at the gate."""
        assert await asyncio.to_thread(self.reached.wait, 60)

    def applier(self, lut: AnyLut, dtype: DTypeLike) -> Applier:
        """Wait for the gate to open, then do as any device."""
        if not self._opened.is_set():
            self.reached.set()
            assert self._opened.wait(60)
        return super().applier(lut, dtype)


async def get_lut(service: EnhancementService, token: str, options: LutOptions) -> ExportedLut:
    """Export the LUT of a look token, as the endpoint does."""
    look = service.luts.read(token)
    found = service.luts.find(look, options, gzipped=False)
    if found is not None:
        return found
    with service.admission.acquire() as permit:
        permit.enter()
        return await service.luts.export(permit, look, options)
