"""The store is read again while requests are in flight."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from threading import Event

import pytest

from app.errors import BadModel, DeadlineExceeded, UnknownLook, UnknownModel
from app.luts.export import LutOptions
from app.luts.token import LookToken
from app.main import create_service
from app.networks.base import ThumbnailRecipe
from app.networks.store import ModelRegistry, write_model
from app.policies import ModelsPolicy
from app.serving.options import EnhanceOptions, PredictLutOptions
from app.serving.service import EnhancementService, enhance_file, predict_lut_of_file
from app.settings import Settings
from tests.helpers.networks import make_network, write_network, write_other
from tests.helpers.restoration import make_store
from tests.helpers.service import GatedDevice, get_lut
from tests.helpers.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

BAD_SIZES = {"none": 0, "negative": -5, "small": 16, "huge": 10**6}  # of thumbnails


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Make a store of the default model and one named `other`."""
    write_other(tmp_path)
    return make_store(tmp_path)


@pytest.fixture
def photo(photos: Path) -> bytes:
    """Read a JPEG of 853x480 pixels."""
    return (photos / "lake.jpg").read_bytes()


def create(store: Path, device: GatedDevice | None = None) -> EnhancementService:
    """Create a service with the models of a store."""
    return create_service(Settings(models=ModelsPolicy(store=store)), device=device)


def list_models(service: EnhancementService) -> list[str]:
    """Return the models that are served, as NAME@VERSION."""
    return [model.card.model_ref for model in service.models.registry.models]


async def predict_token(service: EnhancementService, photo: bytes, model: str) -> str:
    """Return the look token that a model predicts for a photo."""
    predicted = await predict_lut_of_file(service, photo, PredictLutOptions(model=model))
    return predicted.file.look.token


def fingerprint(token: str) -> bytes:
    """Return the fingerprint of the model that made a look."""
    return LookToken.decode(token).fingerprint


async def test_models_are_added_and_removed(store: Path, photo: bytes) -> None:
    """A new model is served, a removed one is unknown by name and look, the others stay."""
    async with create(store) as service:
        token = await predict_token(service, photo, "other")
        await get_lut(service, token, LutOptions())
        kept = service.models.registry.default
        shutil.rmtree(store / "other")
        write_model(
            store,
            make_network("ia3dlut"),
            name="new",
            licence="",
            source="",
            thumbnail=ThumbnailRecipe(),
        )
        await service.reload()
        assert {"default@2", "new@1"} <= set(list_models(service))
        assert "other@1" not in list_models(service)
        assert service.models.registry.default is kept
        assert set(service.models.batchers) == set(list_models(service))
        await predict_token(service, photo, "new")
        await predict_token(service, photo, "default")
        with pytest.raises(UnknownModel):
            await predict_token(service, photo, "other")
        with pytest.raises(UnknownLook):
            await get_lut(service, token, LutOptions())
        assert service.alive


async def test_requests_end_with_the_model_they_began_with(store: Path, photo: bytes) -> None:
    """A request in flight gets the result of its model although that was removed."""
    device = GatedDevice()
    async with create(store, device) as service:
        before = await predict_token(service, photo, "other")
        device.close_gate()
        inside = asyncio.create_task(enhance_file(service, photo, EnhanceOptions(model="other")))
        await device.wait_until_reached()
        shutil.rmtree(store / "other")
        reloading = asyncio.create_task(service.reload())
        await until(lambda: "other@1" not in list_models(service))
        assert not inside.done()
        device.open_gate()
        assert fingerprint((await inside).look.token) == fingerprint(before)
        await reloading


async def test_a_broken_default_changes_nothing(store: Path, photo: bytes) -> None:
    """The error names the damaged file, and the models stay as they were."""
    async with create(store) as service:
        before = list_models(service)
        card = store / "default" / "2" / "card.json"
        text = card.read_text()
        card.write_text("{")
        with pytest.raises(BadModel, match=r"default/2/card\.json"):
            await service.reload()
        assert list_models(service) == before
        await predict_token(service, photo, "default")
        card.write_text(text)
        await service.reload()


async def test_reloading_under_load(store: Path, photo: bytes) -> None:
    """Every request succeeds while models are added."""
    async with create(store) as service:
        await predict_token(service, photo, "default")

        async def send() -> list[str]:
            return [await predict_token(service, photo, "default") for _ in range(6)]

        async def change() -> None:
            for _ in range(3):
                write_other(store)
                await service.reload()

        *tokens, _ = await asyncio.gather(*(send() for _ in range(4)), change())
        assert len({fingerprint(token) for some in tokens for token in some}) == 1
        assert "other@4" in list_models(service)


async def test_bad_extra_models_are_left_out(store: Path, photo: bytes) -> None:
    """Cards that are not valid and networks that cannot run stop neither start nor reload."""
    valid: dict[Path, str] = {}
    for name, size in BAD_SIZES.items():
        write_network(store, make_network(), name)
        card = store / name / "1" / "card.json"
        valid[card] = card.read_text()
        card.write_text(json.dumps(json.loads(valid[card]) | {"thumbnail": {"size": size}}))
    async with create(store) as service:
        await service.models.wait_until_warm()
        assert service.ready
        assert set(list_models(service)) == {"default@2", "other@1"}
        await service.reload()
        assert set(list_models(service)) == {"default@2", "other@1"}
        assert service.ready
        await predict_token(service, photo, "default")
        for card, text in valid.items():
            card.write_text(text)
        await service.reload()
        for name in BAD_SIZES:
            await predict_token(service, photo, name)


async def test_reloading_does_not_wait_for_requests(store: Path, photo: bytes) -> None:
    """A request that never ends holds up neither a reload nor the next one."""
    device = GatedDevice()
    async with create(store, device) as service:
        await service.models.wait_until_warm()
        device.close_gate()
        stuck = asyncio.create_task(enhance_file(service, photo, EnhanceOptions(model="other")))
        await device.wait_until_reached()
        shutil.rmtree(store / "other")
        async with asyncio.timeout(60):
            await service.reload()
            await service.reload()
        assert not stuck.done()
        device.open_gate()
        await stuck


async def test_reloads_at_the_same_time_are_one(store: Path) -> None:
    """Calls during a reload wait for one further reload, which reads what is then there."""
    async with create(store) as service:
        await service.models.wait_until_warm()
        reading, go_on = Event(), Event()
        read, reads = service.models._load, 0

        def read_slowly() -> ModelRegistry:
            nonlocal reads
            reads += 1
            reading.set()
            assert go_on.wait(PATIENCE)
            return read()

        service.models._load = read_slowly
        first = asyncio.create_task(service.reload())
        assert await asyncio.to_thread(reading.wait, PATIENCE)
        others = [asyncio.create_task(service.reload()) for _ in range(1000)]
        others[0].cancel()
        shutil.rmtree(store / "other")
        go_on.set()
        await asyncio.gather(first, *others[1:])
        assert reads == 2
        assert "other@1" not in list_models(service)


async def test_reloading_has_a_deadline(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be read to its end delays no later reload."""
    monkeypatch.setattr("app.serving.model_runners.RELOAD_TIMEOUT", 0.5)
    async with create(store) as service:
        await service.models.wait_until_warm()
        read, go_on = service.models._load, Event()

        def read_when_allowed() -> ModelRegistry:
            go_on.wait()
            return read()

        service.models._load = read_when_allowed
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                await service.reload()
        assert service.ready
        assert "other@1" in list_models(service)
        go_on.set()
        monkeypatch.setattr("app.serving.model_runners.RELOAD_TIMEOUT", 60.0)
        await service.reload()
