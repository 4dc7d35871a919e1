"""POST /enhance?upscale=: headers, problems, the list of models; the command line."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from tests.helpers.restoration import make_store
from tests.helpers.server import serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Start a server with a model that doubles, and a limit of two megapixels."""
    store = make_store(tmp_path_factory.mktemp("store"), 2)
    with serving(MODELS_STORE=store, IMAGE_MAX_PIXELS=2_000_000) as server:
        yield server.client


def test_the_response_names_factor_models_and_stage(client: httpx.Client, otters: bytes) -> None:
    """The image has twice the size; headers state how it was made and how long it took."""
    response = client.post("/enhance?upscale=2&max_side=400", content=otters).raise_for_status()
    assert Image.open(io.BytesIO(response.content)).size == (800, 450)
    assert response.headers["x-upscale"] == "2; tiny-2@1"
    assert "upscale;dur=" in response.headers["server-timing"]
    plain = client.post("/enhance", content=otters).raise_for_status()
    assert "x-upscale" not in plain.headers


def test_a_result_that_is_too_large_is_rejected(client: httpx.Client, otters: bytes) -> None:
    """The problem holds the largest factor, which is then accepted."""
    response = client.post("/enhance?upscale=4", content=otters)
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"].endswith("too-many-pixels")
    assert problem["max_upscale"] == 2.21
    accepted = client.post(f"/enhance?upscale={problem['max_upscale']}", content=otters)
    assert accepted.status_code == 200


@pytest.mark.parametrize("factor", ["0.5", "4.01", "nan", "inf", "x", "-1"])
def test_other_factors_are_rejected(client: httpx.Client, otters: bytes, factor: str) -> None:
    """Factors below 1 or above 4 are a bad parameter."""
    response = client.post(f"/enhance?upscale={factor}", content=otters)
    assert response.status_code == 400
    assert response.json()["type"].endswith("bad-parameter")


def test_models_lists_restoration_models(client: httpx.Client) -> None:
    """GET /models lists the models of upscale beside those of looks."""
    found = client.get("/models").json()
    assert [model["name"] for model in found["models"]] == ["default"]
    (restorer,) = found["restoration"]
    assert (restorer["name"], restorer["scale"], restorer["method"]) == ("tiny-2", 2, "mulut")


def test_looks_are_shared_by_sizes(client: httpx.Client, otters: bytes) -> None:
    """The look is predicted before the image is enlarged, so it is the same one."""
    plain = client.post("/enhance", content=otters)
    doubled = client.post("/enhance?upscale=2", content=otters)
    assert doubled.headers["x-look"] == plain.headers["x-look"]
