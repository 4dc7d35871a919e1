"""One request's way through the house, and the ways in which it may end early."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.errors import (
    BadParameter,
    CorruptedLook,
    DeadlineExceeded,
    Draining,
    Overloaded,
    UnknownModel,
)
from app.imaging.codecs import ImageFormat
from app.luts.export import LutOptions
from app.luts.token import LookToken
from app.main import create_service
from app.networks.adaint import AdaInt
from app.networks.base import ThumbnailRecipe
from app.networks.store import write_model
from app.policies import AdmissionPolicy, ModelsPolicy
from app.serving.lut_export import LutFile
from app.serving.options import EnhancedImage, EnhanceOptions
from app.serving.service import EnhancementService
from app.serving.timings import STAGES, Timings
from app.settings import Settings
from tests.networks.test_store import make_network

pytestmark = pytest.mark.anyio


class Gate:
    """An output format that is only told once the gate opens: it holds a worker up in encode."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, own: ImageFormat) -> ImageFormat:
        self.reached.set()
        assert self.opened.wait(60)
        return own

    async def wait_until_reached(self) -> None:
        """Waits until a worker stands at the gate."""
        assert await asyncio.to_thread(self.reached.wait, 60)


def house(**admission: float) -> EnhancementService:
    """An enhancer with the embedded model."""
    return create_service(Settings(admission=AdmissionPolicy(**admission)))


@pytest.fixture
async def service(anyio_backend: str) -> AsyncIterator[EnhancementService]:
    """An enhancer that is running."""
    async with house() as service:
        yield service


@pytest.fixture
def photo(photos: Path) -> bytes:
    """A JPEG of 853x480 pixels."""
    return (photos / "lake.jpg").read_bytes()


async def predicted(service: EnhancementService, photo: bytes) -> LutFile:
    """The LUT of a photo."""
    return await service.predict_lut(photo, EnhanceOptions(), LutOptions(), Timings())


async def settled(service: EnhancementService) -> None:
    """Waits until nobody is in the house."""
    async with asyncio.timeout(60):
        while service.admission.requests:
            await asyncio.sleep(0.01)


async def test_timings_travel_with_the_request(service: EnhancementService, photo: bytes) -> None:
    """Every stage is measured, and the waiting between them is the rest."""
    timings = Timings()
    enhanced = await service.enhance(photo, EnhanceOptions(), timings)
    assert enhanced.format is ImageFormat.JPEG
    assert set(timings.seconds) == set(STAGES)
    assert timings.pixels == 853 * 480
    assert 0 <= timings.queue <= timings.total


async def test_the_door_counts_everybody_out(service: EnhancementService, photo: bytes) -> None:
    """After answers and failures alike, all permits and pixels are back."""
    bodies = [photo, b"not a photo", photo[:9000], photo]
    results = await asyncio.gather(
        *(service.enhance(body, EnhanceOptions(), Timings()) for body in bodies),
        return_exceptions=True,
    )
    assert [isinstance(result, EnhancedImage) for result in results] == [True, False, False, True]
    assert (service.admission.requests, service.admission.pixels_in_flight) == (0, 0)


async def test_a_burst_is_answered(service: EnhancementService, photo: bytes) -> None:
    """Every photo of a burst is run exactly once, alone or with its neighbours."""
    files = await asyncio.gather(*(predicted(service, photo) for _ in range(16)))
    sizes = service.batchers["default@1"].sizes
    assert sum(size * count for size, count in sizes.items()) == 16
    assert len({file.look.card.model_ref for file in files}) == 1


async def test_a_look_belongs_to_its_model(service: EnhancementService, photo: bytes) -> None:
    """A model that does not exist, or that did not make the look, is refused."""
    look = (await predicted(service, photo)).look
    again = await service.enhance(
        photo, EnhanceOptions(look=look.token, model="default@1"), Timings()
    )
    assert again.look.token == look.token
    with pytest.raises(UnknownModel):
        await service.enhance(photo, EnhanceOptions(look=look.token, model="other"), Timings())


async def test_a_departed_request_keeps_its_permit_while_its_thread_runs(photo: bytes) -> None:
    """Cancelling answers at once, but memory that a thread still uses stays accounted for."""
    gate, timings = Gate(), Timings()
    async with house(max_requests=1) as service:
        request = asyncio.create_task(
            service.enhance(photo, EnhanceOptions(output_format=gate), timings)
        )
        await gate.wait_until_reached()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert timings.stage == "encode"
        assert service.admission.requests == 1
        assert service.admission.pixels_in_flight == timings.pixels
        with pytest.raises(Overloaded):
            await service.enhance(photo, EnhanceOptions(), Timings())
        gate.opened.set()
        await settled(service)
        assert service.admission.pixels_in_flight == 0
        await service.enhance(photo, EnhanceOptions(), Timings())


async def test_the_deadline_does_not_wait_for_the_thread(photo: bytes) -> None:
    """A late request is told so at its deadline, though its thread is still at work."""
    gate = Gate()
    async with house(deadline=2.0) as service:
        await predicted(service, photo)  # the warm-up is over
        with pytest.raises(DeadlineExceeded, match=r"within 2\.0 seconds"):
            await service.enhance(photo, EnhanceOptions(output_format=gate), Timings())
        assert gate.reached.is_set()
        gate.opened.set()
        await settled(service)


async def test_leaving_answers_what_was_admitted(photo: bytes) -> None:
    """Leaving waits for those who are in the house, and lets nobody else in."""
    gate = Gate()
    async with asyncio.TaskGroup() as tasks:
        async with house() as service:
            inside = tasks.create_task(
                service.enhance(photo, EnhanceOptions(output_format=gate), Timings())
            )
            await gate.wait_until_reached()
            tasks.create_task(opened_when_closed(service, gate))
        assert inside.done()
        with pytest.raises(Draining):
            await service.enhance(photo, EnhanceOptions(), Timings())
    assert inside.result().format is ImageFormat.JPEG


async def opened_when_closed(service: EnhancementService, gate: Gate) -> None:
    """Opens the gate once the door is closed."""
    while not service.admission.closed:
        await asyncio.sleep(0.01)
    gate.opened.set()


async def test_writing_luts_is_admitted_too(photo: bytes) -> None:
    """A LUT file takes a place in the house and a share of its memory, and gives them back."""
    async with house(max_requests=1) as service:
        look = (await predicted(service, photo)).look
        large = LutOptions(size=129)
        writing = asyncio.create_task(service.get_lut(look.token, large))
        async with asyncio.timeout(60):
            while not service.admission.pixels_in_flight:
                await asyncio.sleep(0)
        assert service.admission.pixels_in_flight == 9 * 129**3
        with pytest.raises(Overloaded):
            await service.get_lut(look.token, large)
        assert len((await writing).body) > 129**3
        assert (service.admission.requests, service.admission.pixels_in_flight) == (0, 0)


async def test_a_token_asked_for_again_costs_nothing(
    service: EnhancementService, photo: bytes
) -> None:
    """The file is written once: the second answer is the first, even where the door is closed."""
    token = (await predicted(service, photo)).look.token
    first = await service.get_lut(token, LutOptions())
    assert await service.get_lut(token, LutOptions(strength=0.5)) is not first
    service.admission.closed = True
    assert await service.get_lut(token, LutOptions()) is first


@pytest.mark.parametrize("forged", [3.4e38, 1e6, -1e6])
async def test_forged_tokens_make_no_lut(service: EnhancementService, forged: float) -> None:
    """A token that is whole, but whose numbers lead out of all colours, is refused."""
    model = service.registry.default
    code = np.full(model.network.code_size, forged, np.float32)
    token = LookToken(model.card.fingerprint, code).encode()
    with pytest.raises(CorruptedLook):
        await service.get_lut(token, LutOptions())


async def test_what_is_there_after_the_warm_up_is_no_garbage(
    service: EnhancementService, photo: bytes
) -> None:
    """A full collection that looked at all of it held up everybody for 0.15 s, and so a probe."""
    await predicted(service, photo)
    assert gc.get_freeze_count() > 100_000


async def test_a_failed_warm_up_fails_liveness(tmp_path: Path) -> None:
    """A network that cannot run makes a server that says so: only a restart helps."""
    network = make_network("adaint")
    assert isinstance(network, AdaInt)
    recipe = ThumbnailRecipe(size=16)  # too small for the trunk
    write_model(tmp_path, network, name="a", licence="", source="", thumbnail=recipe)
    settings = Settings(models=ModelsPolicy(store=tmp_path, default="a"))
    async with create_service(settings) as service:
        async with asyncio.timeout(60):
            while service.alive:
                await asyncio.sleep(0.01)
        assert not service.ready


async def test_wishes_that_no_format_can_grant(service: EnhancementService) -> None:
    """A WebP that would be too large is refused with a problem, not a failure."""
    wide = wide_png(17_000)
    with pytest.raises(BadParameter):
        await service.enhance(
            wide, EnhanceOptions(output_format=lambda _: ImageFormat.WEBP), Timings()
        )


def wide_png(width: int) -> bytes:
    """A line of pixels, as PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, 1)).save(buffer, "PNG")
    return buffer.getvalue()
