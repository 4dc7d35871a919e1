"""The service without HTTP: results, cancellation, deadlines and shutdown."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
from app.luts.apply import local_memory
from app.luts.export import LutOptions
from app.luts.token import LookToken
from app.main import create_service
from app.networks.adaint import AdaInt
from app.networks.base import ThumbnailRecipe
from app.networks.store import write_model
from app.policies import BYTES_PER_PIXEL, AdmissionPolicy, ModelsPolicy
from app.serving.looks import export_memory
from app.serving.options import EnhanceOptions, PredictLutOptions, choose_format
from app.serving.results import STAGES, EnhancedImage, ExportedLut
from app.serving.service import EnhancementService, enhance_file, predict_lut_of_file
from app.settings import Settings
from tests.helpers.files import saved, scene
from tests.helpers.networks import make_network
from tests.helpers.service import GatedDevice, get_lut
from tests.helpers.waiting import until

pytestmark = pytest.mark.anyio


def create(device: GatedDevice | None = None, **admission: float) -> EnhancementService:
    """Create a service with the embedded model."""
    return create_service(Settings(admission=AdmissionPolicy(**admission)), device=device)


@asynccontextmanager
async def closed_gate(device: GatedDevice, **admission: float) -> AsyncIterator[EnhancementService]:
    """Run a service that is warm and whose next request stays in the stage apply."""
    async with create(device, **admission) as service:
        await service.models.wait_until_warm()
        device.close_gate()
        yield service


@pytest.fixture(scope="module")
async def service(anyio_backend: str) -> AsyncIterator[EnhancementService]:
    """Run a service for all tests that leave it as it was."""
    async with create() as service:
        yield service


@pytest.fixture
def photo(photos: Path) -> bytes:
    """Read a JPEG of 853x480 pixels."""
    return (photos / "lake.jpg").read_bytes()


async def enhance(service: EnhancementService, body: bytes) -> EnhancedImage:
    """Enhance an image with the default options."""
    return await enhance_file(service, body, EnhanceOptions())


async def predict(service: EnhancementService, body: bytes) -> ExportedLut:
    """Export the LUT for an image with the default options."""
    return (await predict_lut_of_file(service, body, PredictLutOptions())).file


async def settle(service: EnhancementService) -> None:
    """Wait until no request is in flight."""
    await until(lambda: not service.admission.requests)


async def test_the_result_holds_its_timings(service: EnhancementService, photo: bytes) -> None:
    """Every stage is measured, and the waiting between the stages is the rest."""
    enhanced = await enhance(service, photo)
    assert enhanced.format is ImageFormat.JPEG
    assert set(enhanced.timings.seconds) == set(STAGES) - {"restore", "upscale"}
    assert 0 <= enhanced.timings.queue <= enhanced.timings.total
    predicted = await predict_lut_of_file(service, photo, PredictLutOptions())
    assert set(predicted.timings.seconds) == {"decode", "predict", "encode"}


async def test_a_photograph_does_not_wait_for_large_images(
    photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one occupies the only thread, the LUT of another image is predicted."""
    monkeypatch.setattr("app.serving.service.BRIEF_PIXELS", 100_000)
    small, device = saved(scene(200, 200), "JPEG"), GatedDevice()
    async with create_service(Settings(), threads=1, device=device) as service:
        await service.models.wait_until_warm()
        device.close_gate()
        waiting = asyncio.create_task(enhance(service, photo))
        await device.wait_until_reached()
        assert (await predict(service, small)).body
        assert not waiting.done()
        device.open_gate()
        await waiting


async def test_the_tables_of_local_looks_are_charged(
    service: EnhancementService, photo: bytes
) -> None:
    """They take megabytes, however small the image."""
    with service.admission.acquire() as permit:
        permit.enter()
        local = (await service.open(permit, photo, model="local")).plan(EnhanceOptions())
        overall = (await service.open(permit, photo)).plan(EnhanceOptions())
    assert local.memory == overall.memory + local_memory(2, 33)


async def test_an_opened_image_knows_what_it_costs(
    service: EnhancementService, photo: bytes
) -> None:
    """The memory is known before anything is decoded, so that a caller may reject the request."""
    with service.admission.acquire() as permit:
        permit.enter()
        opened = await service.open(permit, photo)
        full = opened.plan(EnhanceOptions()).memory
        assert full == BYTES_PER_PIXEL * 853 * 480
        assert opened.plan(EnhanceOptions(format=ImageFormat.AVIF)).memory > full
        assert opened.plan(EnhanceOptions(max_side=100)).memory <= full
        assert (
            opened.predict_memory(LutOptions(size=5))
            < full
            < opened.predict_memory(LutOptions(size=129))
        )
        assert service.admission.reserved == 0
        assert permit.stages == []


@pytest.mark.parametrize(
    ("asked", "own", "accepted", "chosen"),
    [
        (None, "jpeg", (), "jpeg"),
        (None, "heif", (), "jpeg"),
        ("png", "jpeg", (("webp",),), "png"),
        (None, "jpeg", (("webp", "jpeg"), ("png",)), "jpeg"),
        (None, "png", (("webp", "jpeg"), ("png",)), "webp"),
        (None, "bmp", (("webp", "jpeg"),), "jpeg"),
    ],
)
def test_the_format_is_chosen(
    asked: str | None, own: str, accepted: tuple[tuple[str, ...], ...], chosen: str
) -> None:
    """The option decides, then the preference of the client, then the image's own format."""
    groups = [[ImageFormat(name) for name in group] for group in accepted]
    result = choose_format(asked and ImageFormat(asked), ImageFormat(own), groups)
    assert result is ImageFormat(chosen)


async def test_everything_is_given_back(service: EnhancementService, photo: bytes) -> None:
    """After successes and failures alike, all places and all memory are free."""
    bodies = [photo, b"not a photo", photo[:9000], photo]
    results = await asyncio.gather(
        *(enhance(service, body) for body in bodies), return_exceptions=True
    )
    assert [isinstance(result, EnhancedImage) for result in results] == [True, False, False, True]
    assert (service.admission.requests, service.admission.reserved) == (0, 0)


async def test_a_burst_is_batched(service: EnhancementService, photo: bytes) -> None:
    """Every image of a burst is run exactly once, alone or in a batch."""
    sizes = service.models.batchers["default@2"].sizes
    before = count_images(sizes)
    files = await asyncio.gather(*(predict(service, photo) for _ in range(16)))
    assert count_images(sizes) - before == 16
    assert len({file.look.card.model_ref for file in files}) == 1


def count_images(sizes: Mapping[int, int]) -> int:
    """Sum the images of all batches, given the number of batches of each size."""
    return sum(size * count for size, count in sizes.items())


async def test_a_look_belongs_to_its_model(service: EnhancementService, photo: bytes) -> None:
    """A model that does not exist, or that did not make the look, is rejected."""
    look = (await predict(service, photo)).look
    again = await enhance_file(service, photo, EnhanceOptions(look=look.token, model="default@2"))
    assert again.look.token == look.token
    with pytest.raises(UnknownModel):
        await enhance_file(service, photo, EnhanceOptions(look=look.token, model="other"))


async def test_a_cancelled_request_holds_its_memory_while_its_thread_runs(photo: bytes) -> None:
    """Cancelling returns at once, but memory that a thread still uses stays accounted for."""
    device = GatedDevice()
    async with closed_gate(device, max_requests=1) as service:
        with service.admission.acquire() as permit:
            permit.enter()
            opened = await service.open(permit, photo)
            request = asyncio.create_task(service.enhance(opened.plan(EnhanceOptions())))
            await device.wait_until_reached()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
        assert permit.stage == "apply"
        assert permit.cancelled
        assert service.admission.requests == 1
        assert service.admission.reserved == opened.plan(EnhanceOptions()).memory
        with pytest.raises(Overloaded):
            await enhance(service, photo)
        device.open_gate()
        await settle(service)
        assert [it.stage for it in permit.stages] == ["decode", "predict", "apply"]  # not encode
        assert service.admission.reserved == 0
        await enhance(service, photo)


async def test_the_deadline_does_not_wait_for_the_thread(photo: bytes) -> None:
    """A late request is rejected at its deadline, though its thread is still at work."""
    device = GatedDevice()
    async with closed_gate(device, deadline=2.0) as service:
        with pytest.raises(DeadlineExceeded, match=r"within 2\.0 seconds"):
            await enhance(service, photo)
        assert device.reached.is_set()
        device.open_gate()
        await settle(service)


@pytest.mark.slow
async def test_a_call_that_never_ends_fails_liveness(photo: bytes) -> None:
    """A thread that works far beyond the deadline of its request is lost until a restart."""
    device = GatedDevice()
    async with closed_gate(device, deadline=2.0) as service:
        await wait_until_alive(service)  # on a busy machine the sandbox takes longer to start
        with pytest.raises(DeadlineExceeded):
            await enhance(service, photo)
        assert device.reached.is_set()
        await until(lambda: not service.alive)
        device.open_gate()
        await wait_until_alive(service)


async def wait_until_alive(service: EnhancementService) -> None:
    """Wait until no thread is at work for far longer than the deadline."""
    await until(lambda: service.alive)


async def test_leaving_completes_what_was_admitted(photo: bytes) -> None:
    """Leaving waits for the requests in flight, and admits no other."""
    device = GatedDevice()
    async with asyncio.TaskGroup() as tasks:
        async with closed_gate(device) as service:
            inside = tasks.create_task(enhance(service, photo))
            await device.wait_until_reached()
            tasks.create_task(open_when_closed(service, device))
        assert inside.done()
        with pytest.raises(Draining):
            await enhance(service, photo)
    assert inside.result().format is ImageFormat.JPEG


async def open_when_closed(service: EnhancementService, device: GatedDevice) -> None:
    """Open the gate once the service admits no more requests."""
    await until(lambda: service.admission.closed)
    device.open_gate()


async def test_exported_luts_need_memory_too(photo: bytes) -> None:
    """Exporting a LUT takes a place and a share of the memory, and gives them back."""
    async with create(max_requests=1) as service:
        look = (await predict(service, photo)).look
        large = LutOptions(size=129)
        writing = asyncio.create_task(get_lut(service, look.token, large))
        await until(lambda: service.admission.reserved)
        model = service.models.registry.default
        assert service.admission.reserved == export_memory(model, large)
        with pytest.raises(Overloaded):
            await get_lut(service, look.token, large)
        assert len((await writing).body) > 129**3
        assert (service.admission.requests, service.admission.reserved) == (0, 0)


async def test_a_repeated_token_is_read_from_the_cache(photo: bytes) -> None:
    """The file is written once; the cache needs no permit."""
    async with create() as service:
        token = (await predict(service, photo)).look.token
        first = await get_lut(service, token, LutOptions())
        assert await get_lut(service, token, LutOptions(strength=0.5)) is not first
        service.admission.closed = True
        assert await get_lut(service, token, LutOptions()) is first


@pytest.mark.parametrize("forged", [3.4e38, 1e6, -1e6])
async def test_forged_tokens_make_no_lut(service: EnhancementService, forged: float) -> None:
    """A token that is whole, but whose numbers make entries out of range, is rejected."""
    model = service.models.registry.default
    code = np.full(model.network.code_size, forged, np.float32)
    token = LookToken(model.card.fingerprint, code).encode()
    with pytest.raises(CorruptedLook):
        await get_lut(service, token, LutOptions())


async def test_objects_of_the_warm_up_are_frozen(service: EnhancementService, photo: bytes) -> None:
    """Otherwise a full garbage collection examines them, and stops all threads for 0.15 s."""
    await predict(service, photo)
    assert gc.get_freeze_count() > 100_000


async def test_a_failed_warm_up_fails_liveness(tmp_path: Path) -> None:
    """A network that cannot run makes the service neither alive nor ready."""
    network = make_network("adaint")
    assert isinstance(network, AdaInt)
    recipe = ThumbnailRecipe(size=16)  # too small for the backbone
    write_model(tmp_path, network, name="a", licence="", source="", thumbnail=recipe)
    settings = Settings(models=ModelsPolicy(store=tmp_path, default="a"))
    async with create_service(settings) as service:
        await until(lambda: not service.alive)
        assert not service.ready


async def test_an_image_too_large_for_its_format(service: EnhancementService) -> None:
    """A WebP that would be too large is rejected with a problem."""
    wide = wide_png(17_000)
    with pytest.raises(BadParameter):
        await enhance_file(service, wide, EnhanceOptions(format=ImageFormat.WEBP))


def wide_png(width: int) -> bytes:
    """Make a line of pixels, as PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, 1)).save(buffer, "PNG")
    return buffer.getvalue()
