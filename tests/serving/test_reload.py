"""Models come and go while requests are under way."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from app.errors import BadModel, UnknownLook, UnknownModel
from app.luts.token import LookToken
from app.main import create_enhancer
from app.networks.base import ThumbnailRecipe
from app.networks.store import write_model
from app.serving.enhancer import Enhancer
from app.serving.look import Wish
from app.serving.lut_file import LutWish
from app.serving.timings import Timings
from app.settings import STORE, ModelsPolicy, Settings
from tests.networks.test_store import small
from tests.serving.test_enhancer import Gate

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the embedded model and one called `other`."""
    shutil.copytree(STORE, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    write_other(tmp_path)
    return tmp_path


@pytest.fixture
def photo(photos: Path) -> bytes:
    """A JPEG of 853x480 pixels."""
    return (photos / "lake.jpg").read_bytes()


def write_other(store: Path) -> None:
    """Adds the next version of `other`."""
    write_model(store, small(), name="other", licence="", source="", thumbnail=ThumbnailRecipe())


def house(store: Path) -> Enhancer:
    """An enhancer with the models of a store."""
    return create_enhancer(Settings(models=ModelsPolicy(store=store)))


def served(enhancer: Enhancer) -> list[str]:
    """What is served, by NAME@VERSION."""
    return [model.card.label for model in enhancer.catalogue.models]


async def token_of(enhancer: Enhancer, photo: bytes, model: str) -> str:
    """The look that a model predicts for a photo."""
    return (await enhancer.predict_lut(photo, Wish(model=model), LutWish(), Timings())).look.token


def maker(token: str) -> bytes:
    """The fingerprint of the model that made a look."""
    return LookToken.decode(token).fingerprint


async def test_models_come_and_go(store: Path, photo: bytes) -> None:
    """A new one is served, a removed one is unknown by name and by look, the rest is the same."""
    async with house(store) as enhancer:
        token = await token_of(enhancer, photo, "other")
        await enhancer.recall_lut(token, LutWish())
        kept = enhancer.catalogue.default
        shutil.rmtree(store / "other")
        write_model(
            store, small("ia3dlut"), name="new", licence="", source="", thumbnail=ThumbnailRecipe()
        )
        await enhancer.reload()
        assert {"default@1", "new@1"} <= set(served(enhancer))
        assert "other@1" not in served(enhancer)
        assert enhancer.catalogue.default is kept
        assert set(enhancer.batchers) == set(served(enhancer))
        await token_of(enhancer, photo, "new")
        await token_of(enhancer, photo, "default")
        with pytest.raises(UnknownModel):
            await token_of(enhancer, photo, "other")
        with pytest.raises(UnknownLook):
            await enhancer.recall_lut(token, LutWish())
        assert enhancer.alive


async def test_requests_end_with_the_network_they_began_with(store: Path, photo: bytes) -> None:
    """Whoever is in the house when its model goes gets the answer of that model."""
    async with house(store) as enhancer:
        before = await token_of(enhancer, photo, "other")
        gate = Gate()
        wish = Wish(model="other", output_format=gate)
        inside = asyncio.create_task(enhancer.enhance(photo, wish, Timings()))
        await gate.wait_until_reached()
        shutil.rmtree(store / "other")
        reloading = asyncio.create_task(enhancer.reload())
        async with asyncio.timeout(60):
            while "other@1" in served(enhancer):
                await asyncio.sleep(0.01)
        assert not inside.done()
        gate.opened.set()
        assert maker((await inside).look.token) == maker(before)
        await reloading


async def test_a_broken_default_changes_nothing(store: Path, photo: bytes) -> None:
    """The store may be damaged while the service runs: it says which file, and goes on."""
    async with house(store) as enhancer:
        before = served(enhancer)
        card = store / "default" / "1" / "card.json"
        text = card.read_text()
        card.write_text("{")
        with pytest.raises(BadModel, match=r"default/1/card\.json"):
            await enhancer.reload()
        assert served(enhancer) == before
        await token_of(enhancer, photo, "default")
        card.write_text(text)
        await enhancer.reload()


async def test_reloading_under_load(store: Path, photo: bytes) -> None:
    """With requests coming all the time and the store changing, every one is answered."""
    async with house(store) as enhancer:
        await token_of(enhancer, photo, "default")

        async def caller() -> list[str]:
            return [await token_of(enhancer, photo, "default") for _ in range(6)]

        async def changes() -> None:
            for _ in range(3):
                write_other(store)
                await enhancer.reload()

        *tokens, _ = await asyncio.gather(*(caller() for _ in range(4)), changes())
        assert len({maker(token) for some in tokens for token in some}) == 1
        assert "other@4" in served(enhancer)
