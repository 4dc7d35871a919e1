"""Looks that differ within an image: applied, repeated by tokens, and flattened for LUT files."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from app.luts.local_lut import LocalLut, Places
from app.luts.lut3d import Lut3D
from app.luts.token import LookToken
from app.networks.base import Network
from app.settings import STORE
from tests.helpers.http import problem
from tests.helpers.networks import make_network, write_network
from tests.helpers.server import serving


@pytest.fixture(scope="module")
def network() -> Network:
    """Make a network of three tables, whose map varies visibly."""
    network = make_network("slut")
    with torch.no_grad():
        network.shares.weight.mul_(30)
        network.psi.mul_(100)
    return network


@pytest.fixture(scope="module")
def local(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve the network beside the default model."""
    store = tmp_path_factory.mktemp("store")
    shutil.copytree(STORE / "default", store / "default")
    write_network(store, network, "local")
    with serving(MODELS_STORE=store) as server:
        yield server.client


def decode(network: Network, token: str) -> LocalLut:
    """Rebuild the look of a token."""
    content = LookToken.decode(token)
    assert content.map is not None
    with torch.no_grad():
        tables = network.decode(
            torch.from_numpy(
                np.concatenate((content.code, content.map.ravel() / 255.0))[None]
            ).float()
        )
    arrays = tables.table.view(-1, 3, *tables.table.shape[2:]).permute(0, 2, 3, 4, 1).numpy()
    return LocalLut(tuple(Lut3D(it.copy()) for it in arrays), content.map)


def read(body: bytes) -> np.ndarray:
    """Decode an image."""
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def photo(client: httpx.Client, body: bytes, **query: object) -> httpx.Response:
    """Enhance an image to a PNG."""
    response = client.post(
        "/enhance", params={"model": "local", "format": "png"} | query, content=body
    )
    assert response.status_code == 200, response.text
    return response


def test_the_token_holds_what_was_applied(
    local: httpx.Client, network: Network, otters: bytes
) -> None:
    """Each pixel is mixed by the map that the token holds, within one level."""
    response = photo(local, otters)
    look, before = decode(network, response.headers["x-look"]), read(otters)
    places = Places.of_image(*before.shape[:2])
    expected = 255 * look.evaluate(before / 255, places, "tetrahedral").clip(0, 1)
    assert np.abs(read(response.content) - expected).max() <= 1.5
    assert look.map.std(axis=(2, 3)).max() > 10  # it varies
    assert look.flattening_error().worst > 5
    assert len(response.headers["x-look"]) < 4096
    assert "link" not in response.headers


def test_strength_blends_with_the_image(local: httpx.Client, otters: bytes) -> None:
    """Strength 0 changes nothing, and strength 0.5 changes less than all of the look."""
    before = read(otters).astype(int)
    none, half, full = (
        np.abs(read(photo(local, otters, strength=it).content) - before) for it in (0, 0.5, 1)
    )
    assert none.max() <= 1
    assert 0 < half.mean() < full.mean()


def test_no_lut_file_holds_a_map(local: httpx.Client, otters: bytes) -> None:
    """LUT files of such looks are rejected, before the image is decoded, with the way out."""
    token = photo(local, otters).headers["x-look"]
    for response in (
        local.get(f"/lut/{token}"),
        local.get("/lut", params={"token": token}),
        local.post("/lut", params={"model": "local"}, content=otters),
    ):
        assert "flatten=true" in problem(response, 409, "mapped-look")["detail"]


def test_flattened_luts_state_their_error(
    local: httpx.Client, network: Network, otters: bytes
) -> None:
    """With `flatten` the file is the mean over all places, and X-Lut-Error how far that is."""
    token = photo(local, otters).headers["x-look"]
    query = {"flatten": "true", "format": "json"}
    got = local.get(f"/lut/{token}", params=query)
    posted = local.post("/lut", params=query | {"model": "local"}, content=otters)
    for response in (got, posted):
        look = decode(network, response.headers["x-look"])
        table = np.array(response.json()["table"]).reshape(look.flatten().table.shape)
        np.testing.assert_allclose(table, look.flatten().table, atol=1e-4)
        assert response.headers["x-lut-error"] == str(look.flattening_error())


def test_an_album_shares_the_tables(local: httpx.Client, otters: bytes, photos: Path) -> None:
    """A look of one photo on another keeps the tables; the map is that of the other photo."""
    given = photo(local, otters).headers["x-look"]
    lake = (photos / "lake.jpg").read_bytes()
    own = LookToken.decode(photo(local, lake).headers["x-look"])
    response = local.post("/enhance", params={"look": given, "format": "png"}, content=lake)
    assert response.headers["x-model"] == "local@1"
    shared = LookToken.decode(response.headers["x-look"])
    np.testing.assert_array_equal(shared.code, LookToken.decode(given).code)
    np.testing.assert_array_equal(shared.map, own.map)
    tables = LookToken(shared.fingerprint, shared.code).encode()  # as of a map that is too large
    again = local.post("/enhance", params={"look": tables, "format": "png"}, content=lake)
    assert again.headers["x-look"] == response.headers["x-look"]
    problem(local.get(f"/lut/{tables}?flatten=true"), 409, "mapped-look")


def test_maps_of_other_shapes_are_rejected(local: httpx.Client, otters: bytes) -> None:
    """A forged token whose map does not fit its model, or has shares beyond 1, is damaged."""
    content = LookToken.decode(photo(local, otters).headers["x-look"])
    forged = LookToken(content.fingerprint, content.code, np.zeros((1, 1, 1, 1), np.uint8))
    problem(local.get(f"/lut/{forged.encode()}?flatten=true"), 400, "corrupted-look")
    heavy = LookToken(content.fingerprint, content.code, np.full_like(content.map, 255))
    problem(local.get(f"/lut/{heavy.encode()}?flatten=true"), 400, "corrupted-look")


def test_animations_get_the_flattened_look(local: httpx.Client) -> None:
    """Frames move, so a map of one of them would be wrong in the others."""
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("navy", "teal", "olive")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    response = local.post("/enhance", params={"model": "local"}, content=buffer.getvalue())
    assert response.status_code == 200
    assert Image.open(io.BytesIO(response.content)).n_frames == 3


def test_models_state_that_they_are_local(local: httpx.Client) -> None:
    """GET /models names the models whose looks have a map."""
    listed = local.get("/models").json()["models"]
    assert {it["name"]: it["local"] for it in listed} == {"default": False, "local": True}
