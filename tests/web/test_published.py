"""The published networks behind one server, compared with the results of their authors' code."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.luts.formats.cube import read_cube
from app.luts.lut_error import lut_error
from tests.helpers.metrics import grown, samples
from tests.helpers.published import (
    CHECKPOINTS,
    PHOTOS,
    SIBLINGS,
    import_all,
    model_name,
    read_input,
    read_pixels,
    read_result,
)
from tests.helpers.server import Server, serving
from tests.helpers.tolerances import assert_same_lut

pytestmark = pytest.mark.reference

PSNR = {"ia3dlut": 28.9, "adaint": 28.1, "seplut": 29.3, "20+05+10": 29.4, "20+05+20": 29.0}
MEAN_OF_SIBLINGS = 29.6


@pytest.fixture(scope="module")
def server(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server with all five models, interpolating as they were trained."""
    store = tmp_path_factory.mktemp("store")
    import_all(shared, store)
    with serving(
        MODELS_STORE=store, MODELS_DEFAULT="seplut", DEVICE_INTERPOLATION="trilinear"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> httpx.Client:
    """Return the client of that server."""
    return server.client


def png(levels: NDArray[np.uint8]) -> bytes:
    """Encode pixels without profile and orientation."""
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def enhanced(client: httpx.Client, levels: NDArray[np.uint8], model: str) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) that the server returns for others."""
    response = client.post("/enhance", content=png(levels), params={"model": model_name(model)})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


def psnr(levels: NDArray[np.floating], target: NDArray[np.uint8]) -> float:
    """Return the PSNR in dB, over all samples."""
    return float(10 * np.log10(255**2 / np.square(levels - target.astype(float)).mean()))


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("model", CHECKPOINTS)
def test_the_authors_answer(client: httpx.Client, shared: Path, model: str, name: str) -> None:
    """Every sample is within one level."""
    levels = enhanced(client, read_input(shared, name), model).astype(int)
    assert np.abs(levels - read_result(shared, name, model)).max() <= 1


def test_quality(client: httpx.Client, shared: Path) -> None:
    """Against an expert's versions the models reach what was measured of them elsewhere.

    The mean of the results of the three siblings is better than any single model.
    """
    scores: dict[str, list[float]] = {name: [] for name in (*CHECKPOINTS, "mean")}
    for path in sorted(shared.glob("pairs/*-input.png")):
        before = read_pixels(path)
        target = read_pixels(path.with_name(path.name.replace("-input", "-expert-c")))
        results = {name: enhanced(client, before, name).astype(float) for name in CHECKPOINTS}
        results["mean"] = np.rint(np.mean([results[name] for name in SIBLINGS], axis=0))
        for name, levels in results.items():
            scores[name].append(psnr(levels, target))
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    together = means.pop("mean")
    assert means == pytest.approx(PSNR, abs=0.1)
    assert together == pytest.approx(MEAN_OF_SIBLINGS, abs=0.1)
    assert together > max(means.values())


def test_the_listing(client: httpx.Client) -> None:
    """The listing describes each model, and whether it has curves before its table."""
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert {name: model["shaper"] for name, model in models.items()} == {
        "20-05-10": False,
        "20-05-20": False,
        "adaint": True,
        "ia3dlut": False,
        "seplut": True,
    }
    assert (models["adaint"]["parameters"], models["seplut"]["parameters"]) == (619_724, 119_791)


@pytest.mark.anyio
async def test_each_model_has_its_own_batches(server: Server, otters: bytes) -> None:
    """Concurrent requests for several models are served and counted separately."""
    before = samples(server.client)
    names = [model_name(name) for name in CHECKPOINTS] * 3
    base = str(server.client.base_url)
    async with httpx.AsyncClient(base_url=base, timeout=60) as client:
        results = await asyncio.gather(
            *(client.post("/lut", content=otters, params={"model": name}) for name in names)
        )
    assert [response.headers["x-model"] for response in results] == [f"{n}@1" for n in names]
    change = grown(before, samples(server.client))
    for name in names:
        assert change["clut_batch_size_sum", (("model", f"{name}@1"),)] == 3


@pytest.mark.parametrize("model", CHECKPOINTS)
@pytest.mark.parametrize("lut_format", ["cube", "resolve"])
def test_tokens_bring_each_models_lut_back(
    client: httpx.Client, otters: bytes, model: str, lut_format: str
) -> None:
    """A token gives the same LUT within rounding, without naming the model."""
    options = {"format": lut_format, "size": 33} if lut_format == "cube" else {"format": lut_format}
    posted = client.post("/lut", content=otters, params={"model": model_name(model), **options})
    again = client.get(f"/lut/{posted.headers['x-look']}", params=options)
    assert again.headers["x-model"] == f"{model_name(model)}@1"
    assert_same_lut(again.text, posted.text)


@pytest.mark.parametrize("model", ["adaint", "seplut"])
def test_what_resampling_loses_is_measured(client: httpx.Client, otters: bytes, model: str) -> None:
    """Resolve's dialect holds the curves; a plain .cube does not, and a header states the error."""
    posted = client.post("/lut", content=otters, params={"model": model, "format": "resolve"})
    assert "x-lut-error" not in posted.headers
    exact = read_cube(posted.text)
    assert exact.shaper is not None
    plain = client.get(f"/lut/{posted.headers['x-look']}")
    resampled = read_cube(plain.text)
    assert (resampled.shaper, resampled.size) == (None, 65)
    told = dict(part.split("=") for part in plain.headers["x-lut-error"].split(", "))
    error = lut_error(exact, resampled)
    # The header has one decimal and two; the files have six, which may round it the other way.
    assert float(told["max"]) == pytest.approx(error.worst, abs=0.1)
    assert float(told["mean"]) == pytest.approx(error.mean, abs=0.01)
