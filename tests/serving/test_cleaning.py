"""The option restore: the decisions of auto, and the changed pixels."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from app.errors import BadParameter
from app.main import create_service
from app.policies import AdmissionPolicy, ModelsPolicy
from app.restoration.store import write_restorer
from app.serving.options import EnhanceOptions
from app.serving.results import EnhancedImage
from app.serving.service import EnhancementService, enhance_file
from app.settings import Settings
from tests.helpers.restoration import CREDIT, cleaning, make_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a store with a cleaner whose corrections are known, and a model that doubles."""
    store = make_store(tmp_path_factory.mktemp("store"), 2)
    write_restorer(store, cleaning(), name="tiny-clean", **CREDIT)
    return store


@pytest.fixture(scope="module")
async def service(anyio_backend: str, store: Path) -> AsyncIterator[EnhancementService]:
    """Run a service with that store; without a deadline, since the machine may be busy."""
    settings = Settings(models=ModelsPolicy(store=store), admission=AdmissionPolicy(deadline=None))
    async with create_service(settings) as service:
        yield service


def jpeg(quality: int, side: int = 64, sigma: float = 0.0) -> bytes:
    """Encode a gray with noise."""
    levels = np.random.default_rng(0).normal(128, sigma, (side, side))
    file = io.BytesIO()
    Image.fromarray(np.rint(levels).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(sigma: float) -> bytes:
    """Encode a gray with noise, which is the same in all channels."""
    file = io.BytesIO()
    levels = np.random.default_rng(0).normal(128, sigma, (64, 64))
    Image.fromarray(np.rint(levels).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


async def clean(service: EnhancementService, body: bytes, **options: object) -> EnhancedImage:
    """Clean an image and change nothing else."""
    chosen = EnhanceOptions.model_validate({"min_change": 100} | options)
    return await enhance_file(service, body, chosen)


def read(body: bytes) -> np.ndarray:
    """Decode an image."""
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(int)


@pytest.mark.parametrize(("quality", "change"), [(30, -9), (40, -7), (50, -5)])
async def test_auto_reads_the_quality(
    service: EnhancementService, quality: int, change: int
) -> None:
    """The tables are chosen by the quality that the file was compressed with."""
    body = jpeg(quality)
    found = await clean(service, body, restore="auto", format="png")
    np.testing.assert_array_equal(read(found.body) - read(body), change)
    assert found.cleaning is not None
    assert found.cleaning.damage.quality == pytest.approx(quality, abs=1)
    assert found.cleaning.strength == 1
    assert "restore" in found.timings.seconds


async def test_auto_measures_noise(service: EnhancementService) -> None:
    """A noisy image is cleaned whatever its format, and colours change after that."""
    found = await clean(service, png(8), restore="auto")
    assert found.cleaning is not None
    assert found.cleaning.damage.quality is None
    assert found.cleaning.damage.noise == pytest.approx(7, abs=1)
    assert read(found.body).mean() < read(png(8)).mean() - 1


@pytest.mark.parametrize("body", [jpeg(95), png(0), png(2)], ids=["jpeg 95", "flat", "quiet"])
@pytest.mark.parametrize("restore", ["auto", "off", 0])
async def test_what_needs_nothing_is_left_alone(
    service: EnhancementService, body: bytes, restore: str | int
) -> None:
    """The result is the file itself, bit for bit."""
    found = await clean(service, body, restore=restore)
    assert found.body == body
    assert (found.cleaning is None) == (restore == "off")
    if found.cleaning is not None:
        assert found.cleaning.strength == 0


async def test_off_is_the_default(service: EnhancementService) -> None:
    """Without the option even a bad JPEG keeps its pixels."""
    found = await clean(service, jpeg(10))
    assert found.cleaning is None
    assert found.body == jpeg(10)


async def test_a_number_cleans_in_any_case(service: EnhancementService) -> None:
    """A strength cleans what auto leaves alone, as a JPEG of quality 70 at best."""
    body = png(0)
    found = await clean(service, body, restore=0.7)
    np.testing.assert_array_equal(read(found.body) - read(body), -2)  # 0.7 of 3 levels
    assert found.cleaning is not None
    assert (found.cleaning.damage.quality, found.cleaning.strength) == (None, 0.7)
    stronger = await clean(service, jpeg(30), restore=1, format="png")
    np.testing.assert_array_equal(read(stronger.body) - read(jpeg(30)), -9)


async def test_the_blocks_of_a_reduced_jpeg_are_gone(service: EnhancementService) -> None:
    """Where max_side reduces an image, the quality does not count."""
    found = await clean(service, jpeg(30), restore="auto", max_side=32, format="png")
    assert found.cleaning is not None
    assert (found.cleaning.damage.quality, found.cleaning.strength) == (None, 0)


@pytest.mark.parametrize("restore", [{"restore": "auto"}, {}])
async def test_cleaning_comes_before_upscale(
    service: EnhancementService, restore: dict[str, str]
) -> None:
    """The cleaned pixels are enlarged, also where only `upscale` is given."""
    found = await clean(service, jpeg(30), **restore, upscale=2, format="png")
    expected = (read(jpeg(30)) - 9).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(read(found.body), expected)
    assert found.enlarged_by == ("tiny-2@1",)


async def test_enlarging_may_leave_artefacts(service: EnhancementService) -> None:
    """restore=off enlarges the image as it is."""
    found = await clean(service, jpeg(30), restore="off", upscale=2, format="png")
    np.testing.assert_array_equal(read(found.body), read(jpeg(30)).repeat(2, 0).repeat(2, 1))
    assert found.cleaning is None


async def test_without_a_cleaner_the_option_is_rejected(tmp_path: Path) -> None:
    """A store without a cleaner rejects restore, but not restore=off."""
    settings = Settings(models=ModelsPolicy(store=make_store(tmp_path)))
    async with create_service(settings) as service:
        with pytest.raises(BadParameter, match="none is installed"):
            await clean(service, png(0), restore="auto")
        await clean(service, png(0), restore="off")


@pytest.mark.parametrize("value", ["on", "1.1", "-0.1", "nan", "inf", ""])
def test_other_values_are_rejected(value: str) -> None:
    """The message names the accepted values."""
    with pytest.raises(ValidationError, match="off, auto or a number from 0 to 1"):
        EnhanceOptions.model_validate({"restore": value})
