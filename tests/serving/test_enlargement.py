"""The option upscale: sizes, limits, formats and the choice of models."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from app.errors import BadParameter, ResultTooLarge
from app.imaging.codecs import ImageFormat
from app.main import create_service
from app.policies import AdmissionPolicy, Limits, ModelsPolicy
from app.restoration.store import read_restorers
from app.serving.options import EnhanceOptions
from app.serving.restoration import plan_enlargement
from app.serving.results import EnhancedImage
from app.serving.service import EnhancementService, enhance_file
from app.settings import Settings
from tests.helpers.restoration import make_store

pytestmark = pytest.mark.anyio

WIDTH, HEIGHT = 50, 40


def create(store: Path, max_pixels: int = 10**8, **admission: int) -> EnhancementService:
    """Create a service with a store."""
    return create_service(
        Settings(
            models=ModelsPolicy(store=store),
            image=Limits(max_pixels=max_pixels),
            admission=AdmissionPolicy(**{"deadline": None} | admission),
        )
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a store with a model that doubles."""
    return make_store(tmp_path_factory.mktemp("store"), 2)


@pytest.fixture(scope="module")
async def service(anyio_backend: str, store: Path) -> AsyncIterator[EnhancementService]:
    """Run a service whose model doubles by repeating pixels."""
    async with create(store) as service:
        yield service


def png(pixels: np.ndarray) -> bytes:
    """Encode 8-bit pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def noise(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Return pixels without any order."""
    top = np.iinfo(dtype).max
    shape = (HEIGHT, WIDTH, channels)
    return np.random.default_rng(0).integers(0, top, shape, endpoint=True).astype(dtype)


def read(enhanced: EnhancedImage) -> np.ndarray:
    """Decode a result."""
    return np.asarray(Image.open(io.BytesIO(enhanced.body)))


async def enlarge(service: EnhancementService, body: bytes, **options: object) -> EnhancedImage:
    """Enhance an image with options."""
    return await enhance_file(service, body, EnhanceOptions.model_validate(options))


async def test_the_colours_come_first(service: EnhancementService) -> None:
    """The enlarged image is the enhanced one, enlarged; the models and the stage are named."""
    body = png(noise())
    plain = await enlarge(service, body)
    doubled = await enlarge(service, body, upscale=2)
    np.testing.assert_array_equal(read(doubled), read(plain).repeat(2, 0).repeat(2, 1))
    assert (doubled.factor, doubled.enlarged_by) == (2, ("tiny-2@1",))
    assert "upscale" in doubled.timings.seconds
    assert (plain.factor, plain.enlarged_by) == (1, ())
    assert "upscale" not in plain.timings.seconds


@pytest.mark.parametrize(
    ("factor", "models", "size"),
    [
        (1.5, 1, (75, 60)),
        (2, 1, (100, 80)),
        (2.5, 2, (125, 100)),
        (3, 2, (150, 120)),
        (4, 2, (200, 160)),
    ],
)
async def test_other_factors_are_reduced(
    service: EnhancementService, factor: float, models: int, size: tuple[int, int]
) -> None:
    """A chain of models enlarges further than requested, and the result is reduced."""
    enlarged = await enlarge(service, png(noise()), upscale=factor)
    assert Image.open(io.BytesIO(enlarged.body)).size == size
    assert enlarged.enlarged_by == ("tiny-2@1",) * models


async def test_alpha_is_enlarged(service: EnhancementService) -> None:
    """The alpha of the result has its size, and stays opaque where it was."""
    pixels = noise(4)
    pixels[:, : WIDTH // 2, 3] = 255
    found = read(await enlarge(service, png(pixels), upscale=2))
    assert found.shape == (2 * HEIGHT, 2 * WIDTH, 4)
    assert (found[:, : WIDTH - 8, 3] == 255).all()


async def test_16_bits_stay_16_bits(service: EnhancementService) -> None:
    """A 16-bit image is enlarged as such."""
    file = io.BytesIO()
    tifffile.imwrite(file, noise(dtype=np.uint16), photometric="rgb")
    plain = tifffile.imread(io.BytesIO((await enlarge(service, file.getvalue())).body))
    body = (await enlarge(service, file.getvalue(), upscale=2)).body
    found = tifffile.imread(io.BytesIO(body))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, plain.repeat(2, 0).repeat(2, 1))


async def test_max_side_comes_first(service: EnhancementService) -> None:
    """An image is reduced to max_side, then enlarged."""
    enlarged = await enlarge(service, png(noise()), max_side=25, upscale=2)
    assert Image.open(io.BytesIO(enlarged.body)).size == (50, 40)


async def test_an_unchanged_look_is_still_enlarged(service: EnhancementService) -> None:
    """With min_change the colours stay as they are, but not the size."""
    body = png(noise())
    enlarged = await enlarge(service, body, upscale=2, min_change=100)
    assert not enlarged.applied
    np.testing.assert_array_equal(read(enlarged), noise().repeat(2, 0).repeat(2, 1))


async def test_the_largest_factor_is_stated(store: Path) -> None:
    """A result over the limit of pixels is rejected early, with the largest accepted factor."""
    body = png(noise())
    async with create(store, max_pixels=3 * WIDTH * HEIGHT) as service:
        with service.admission.acquire() as permit:
            permit.enter()
            opened = await service.open(permit, body)
            with pytest.raises(ResultTooLarge, match="upscale=2") as too_many:
                await service.enhance(opened.plan(EnhanceOptions(upscale=2)))
            assert permit.stages == []
        accepted = too_many.value.extra["max_upscale"]
        assert accepted == 1.73  # the square root of 3
        await enlarge(service, body, upscale=accepted)
        with pytest.raises(ResultTooLarge):
            await enlarge(service, body, upscale=1.74)
        await enlarge(service, body, upscale=2, max_side=25)


async def test_memory_limits_the_factor(store: Path) -> None:
    """A result that would need more than all of the memory is rejected likewise."""
    body = png(noise())
    async with create(store, max_pixels=18_000, memory_bytes=18 * 18_000) as service:
        with pytest.raises(ResultTooLarge) as too_many:
            await enlarge(service, body, upscale=2.9, format="avif")
        accepted = too_many.value.extra["max_upscale"]
        assert 2 <= accepted < 2.9
        await enlarge(service, body, upscale=accepted, format="avif")


async def test_default_limits_allow_the_largest_result(service: EnhancementService) -> None:
    """An image of 11 MP is tripled, though four times its size is computed first."""
    body = png(np.zeros((2_500, 4_440, 3), np.uint8))
    with service.admission.acquire() as permit:
        permit.enter()
        opened = await service.open(permit, body)
        plan = opened.plan(EnhanceOptions(upscale=3, format=ImageFormat.JPEG))
        assert plan.enlargement.computed == 4
        assert plan.memory < service.admission.memory_bytes / 2


async def test_the_format_limits_the_factor(service: EnhancementService) -> None:
    """WebP holds at most 16383 pixels on a side."""
    body = png(np.zeros((2, 10_000, 3), np.uint8))
    with pytest.raises(ResultTooLarge) as too_many:
        await enlarge(service, body, upscale=2, format="webp")
    assert too_many.value.extra["max_upscale"] == 1.63
    assert (await enlarge(service, body, upscale=2)).format is ImageFormat.PNG


async def test_without_models_nothing_is_enlarged(tmp_path: Path) -> None:
    """A store without restoration models rejects the option, and no other request."""
    async with create(make_store(tmp_path)) as service:
        with pytest.raises(BadParameter, match="none is installed"):
            await enlarge(service, png(noise()), upscale=2)
        await enlarge(service, png(noise()))


async def test_a_reload_finds_new_models(tmp_path: Path) -> None:
    """A model that is written into the store is used after a reload."""
    store = make_store(tmp_path)
    async with create(store) as service:
        make_store(tmp_path / "other", 4)
        (tmp_path / "other" / "tiny-4").rename(store / "tiny-4")
        await service.reload()
        assert (await enlarge(service, png(noise()), upscale=4)).enlarged_by == ("tiny-4@1",)


@pytest.mark.parametrize(
    ("scales", "factor", "expected"),
    [
        ((2, 3, 4), 2, "2"),
        ((2, 3, 4), 3, "3"),
        ((2, 3, 4), 2.5, "3"),
        ((2, 4), 3, "4"),
        ((2, None), 3, "2 2"),
        ((None,), 3, "any"),
        ((2, None), 1.5, "any"),
        ((2, None), 2, "2"),
        ((2,), 4, "2 2"),
        ((3,), 4, "3 3"),
        ((2, 3), 4, "2 2"),
    ],
)
def test_models_are_chosen(
    tmp_path: Path, scales: tuple[int | None, ...], factor: float, expected: str
) -> None:
    """The exact scale, or for fractions any scale, then the shortest chain that is large enough."""
    restorers = read_restorers(make_store(tmp_path / "store", *scales))
    models = plan_enlargement(restorers, factor).models
    assert " ".join(it.card.name.removeprefix("tiny-") for it in models) == expected
