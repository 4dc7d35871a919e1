"""POST /lut and GET /lut: a photo's LUT, and the same LUT again from its token."""

from __future__ import annotations

import gzip

import httpx
import numpy as np
import pytest

from app.luts.formats import LutFormat
from app.luts.formats.base import Depth
from app.luts.formats.cube import read_cube
from app.luts.lut3d import Lut3D
from tests.helpers.tolerances import assert_same_lut


@pytest.fixture(scope="module")
def token(client: httpx.Client, otters: bytes) -> str:
    """Return the token of a look."""
    return client.post("/lut", content=otters).headers["x-look"]


def test_a_photo_gives_its_lut(client: httpx.Client, dim: bytes) -> None:
    """The response is a .cube of 33 points per axis, near the identity but not equal to it."""
    response = client.post("/lut", content=dim)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=us-ascii"
    assert response.headers["x-model"] == "default@2"
    stages = [part.split(";")[0] for part in response.headers["server-timing"].split(", ")]
    assert stages == ["queue", "decode", "predict", "encode"]
    lut = read_cube(response.text)
    assert lut.size == 33
    distance = np.abs(lut.table - Lut3D.identity(33).table)
    assert 0.003 < distance.mean() < 0.3


def test_a_token_gives_the_same_lut_again(client: httpx.Client, otters: bytes) -> None:
    """GET /lut/{token} and GET /lut?token= return the LUT that POST /lut returned.

    A batch may round otherwise than a lone code: values in 0..1 differ by at most 1e-5.
    """
    posted = client.post("/lut", content=otters)
    token = posted.headers["x-look"]
    for again in (client.get(f"/lut/{token}"), client.get("/lut", params={"token": token})):
        assert_same_lut(again.text, posted.text)
        assert again.headers["x-look"] == token


def test_a_recalled_lut_may_be_cached_for_ever(client: httpx.Client, token: str) -> None:
    """A weak ETag, a year of caching, and 304 for clients that have the LUT."""
    first = client.get(f"/lut/{token}")
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    etag = first.headers["etag"]
    assert etag.startswith('W/"')
    again = client.get(f"/lut/{token}", headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    # RFC 9110 compares weakly here: a cache may have dropped the prefix W/.
    strong = client.get(f"/lut/{token}", headers={"If-None-Match": etag.removeprefix("W/")})
    assert (strong.status_code, strong.headers["etag"]) == (304, etag)
    anything = client.get(f"/lut/{token}", headers={"If-None-Match": "*"})
    assert (anything.status_code, anything.headers["etag"]) == (304, etag)
    assert client.get("/lut/nothing", headers={"If-None-Match": "*"}).status_code == 400
    other = client.get(f"/lut/{token}?size=17", headers={"If-None-Match": etag})
    assert other.status_code == 200
    assert other.headers["etag"] != etag


def test_gzip_where_accepted(client: httpx.Client, token: str) -> None:
    """The response is compressed for clients that accept it, with an ETag of its own."""
    results = {}
    for coding in ("gzip", "identity", "gzip;q=0"):
        with client.stream("GET", f"/lut/{token}", headers={"Accept-Encoding": coding}) as response:
            results[coding] = (response.headers, b"".join(response.iter_raw()))
    packed, plain, rejected = results.values()
    assert packed[0]["content-encoding"] == "gzip"
    for body in (gzip.decompress(packed[1]), rejected[1]):
        assert_same_lut(body.decode(), plain[1].decode())
    assert len(packed[1]) < len(plain[1]) / 2
    assert packed[0]["etag"] != plain[0]["etag"]
    assert packed[0]["vary"] == plain[0]["vary"] == "Accept-Encoding"


def test_options(client: httpx.Client, token: str) -> None:
    """Size, strength, title and clamp are applied."""
    assert read_cube(client.get(f"/lut/{token}?size=17").text).size == 17
    untouched = read_cube(client.get(f"/lut/{token}?strength=0").text)
    np.testing.assert_allclose(untouched.table, Lut3D.identity(33).table, atol=1e-6)
    titled = client.get(f"/lut/{token}", params={"title": 'My "look"\nLUT_3D_SIZE 2'}).text
    assert read_cube(titled).size == 33
    clamped = read_cube(client.get(f"/lut/{token}?clamp=true").text).table
    assert (clamped.min(), clamped.max()) >= (0, 0)
    assert clamped.max() <= 1


def test_json(client: httpx.Client, token: str) -> None:
    """JSON holds the same table as .cube."""
    response = client.get(f"/lut/{token}?format=json")
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert (document["size"], document["look"], document["error"]) == (33, token, None)
    cube = read_cube(client.get(f"/lut/{token}").text)
    table = np.array(document["table"]).reshape(33, 33, 33, 3)
    np.testing.assert_allclose(table, cube.table, atol=1e-6)


BEGINNINGS = {
    "cube": b"# model default@2",
    "resolve": b"# default look",
    "csp": b"CSPLUTV100",
    "clf": b"<?xml",
    "3dl": b"# default look",
    "spi3d": b"SPILUT 1.0",
    "vlt": b"# panasonic vlt file version 1.0",
    "look": b"<?xml",
    "icc": b"\0",
    "hald": b"\x89PNG",
    "strip": b"\x89PNG",
    "bin": b"CLUT",
    "json": b'{"title":"default look"',
}


@pytest.mark.parametrize("lut_format", LutFormat)
def test_formats(client: httpx.Client, token: str, lut_format: LutFormat) -> None:
    """Each format has its media type and its suffix, and names the look if it has room."""
    codec = lut_format.codec
    response = client.get(f"/lut/{token}?format={lut_format}")
    assert response.headers["content-type"] == codec.media_type
    assert response.headers["content-disposition"].endswith(f'"default{codec.suffix}"')
    assert response.content.startswith(BEGINNINGS[lut_format])
    assert (token.encode() in response.content) == (lut_format not in ("vlt", "icc", "bin"))
    assert ("content-encoding" in response.headers) == (not codec.compressed)
    assert ("x-lut-error" in response.headers) == (Depth.FLOAT32 not in codec.depths)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("format=hald&size=33", "size: the format hald has one of 4, 9, 16, "),
        ("format=vlt&size=33", "size: the format vlt has one of 17."),
        ("format=bin&depth=uint16", "depth: the format bin has one of float16, uint8."),
        ("format=cube&green=up", "green: the format cube has no green."),
    ],
)
def test_options_of_other_formats_are_rejected(
    client: httpx.Client, token: str, otters: bytes, query: str, reason: str
) -> None:
    """The problem document lists the values that the format allows."""
    for response in (
        client.get(f"/lut/{token}?{query}"),
        client.post(f"/lut?{query}", content=otters),
    ):
        assert response.status_code == 400
        document = response.json()
        assert document["type"] == "/problems#bad-parameter"
        assert document["detail"].startswith(reason)
        assert document["parameters"][0]["name"] == reason.partition(":")[0]


@pytest.mark.parametrize("options", ["size=17", "size=17&format=csp", "clamp=true"])
def test_what_the_file_loses_is_measured(client: httpx.Client, token: str, options: str) -> None:
    """Where the file does not hold the exact LUT, a header and a comment state the error."""
    response = client.get(f"/lut/{token}?{options}")
    error = response.headers["x-lut-error"]
    worst, mean = (float(item.split("=")[1]) for item in error.split(", "))
    assert 0 <= mean <= worst < 20
    assert f"# error in 8-bit levels {error}\n" in response.text


def test_the_fast_path_answers_nearly_the_same(client: httpx.Client, otters: bytes) -> None:
    """Decoding a JPEG at a reduced scale moves the LUT by little."""
    fast = client.post("/lut", content=otters).headers["x-look"]
    full = client.post("/enhance", content=otters).headers["x-look"]
    tables = [read_cube(client.get(f"/lut/{token}").text).table for token in (fast, full)]
    assert np.abs(tables[0] - tables[1]).mean() < 0.02
