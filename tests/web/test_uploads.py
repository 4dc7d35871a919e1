"""Bodies as clients send them: forms of every kind, and compressed bodies."""

from __future__ import annotations

import gzip
import zlib

import httpx
import pytest

from tests.helpers.files import saved, scene
from tests.helpers.http import problem
from tests.helpers.server import serving

FORM = {"Content-Type": "multipart/form-data; boundary=limit"}


@pytest.fixture(scope="module")
def png() -> bytes:
    """Encode a small image."""
    return saved(scene(), "PNG")


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    """Return a part of a form, with the boundary before it."""
    lines = ["--limit", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


END = b"--limit--\r\n"


@pytest.mark.parametrize(
    "disposition",
    [
        'name="file"; filename="a.png"',
        "name=file; filename=a.png",
        'name="file"',
        "name=\"file\"; filename*=UTF-8''%C3%BC.png",
        'filename="a.png"; name="file"',
        "name=\"file\"; filename*=undefined''%C3%BC.png",
    ],
)
def test_part_named_file_is_the_image(client: httpx.Client, png: bytes, disposition: str) -> None:
    """The part is found by its name, with or without a file name of any notation."""
    body = part('name="note"', b"text") + part(disposition, png) + END
    assert client.post("/enhance", content=body, headers=FORM).status_code == 200


def test_part_above_one_megabyte_without_file_name(client: httpx.Client) -> None:
    """A part without file name may be as large as any body."""
    image = saved(scene(1200, 900), "BMP")
    assert len(image) > 1 << 20
    response = client.post("/lut?size=2", content=part('name="file"', image) + END, headers=FORM)
    assert response.status_code == 200


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is a message in MIME format.\r\n"])
@pytest.mark.parametrize("epilogue", [b"", b"\r\n\r\n", b"This text is ignored.\r\n--limit\r\n"])
def test_preamble_and_epilogue_are_ignored(
    client: httpx.Client, png: bytes, preamble: bytes, epilogue: bytes
) -> None:
    """RFC 2046, section 5.1.1; the line break after the last boundary is optional, too."""
    body = preamble + part('name="file"', png) + END.rstrip() + epilogue
    assert client.post("/lut?size=2", content=body, headers=FORM).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b"----\r\n"),
        (f"multipart/form-data; boundary={'b' * 71}", b"x"),
        ("multipart/form-data; boundary=limit; charset=punycode", part('name="file"', b"x") + END),
        ("multipart/form-data; boundary=limit; charset=undefined", part('name="file"', b"x") + END),
        (FORM["Content-Type"] + ";" * 60_000, part('name="file"', b"x") + END),
        (FORM["Content-Type"], b"--limit\r\n"),
        (FORM["Content-Type"], b"--limit"),
        (FORM["Content-Type"], END),
        (FORM["Content-Type"], b"--limit\r\n\r\nno headers\r\n" + END),
        (FORM["Content-Type"], b"--limit\r\nA: " + b"b" * 9000 + b"\r\n\r\nx\r\n" + END),
        (FORM["Content-Type"], b"--limit\r\n" + b"A: b\r\n" * 2000 + b"\r\nx\r\n" + END),
        (FORM["Content-Type"], part('name="other"', b"x") * 18 + END),
        (FORM["Content-Type"], part('name="file"', b"x") * 2 + END),
        (FORM["Content-Type"], part('name="file"', b"") + END),
        (FORM["Content-Type"], part('name="' + "f" * 400_000 + '"', b"x") + END),
        (FORM["Content-Type"], b"\r\n--limi" * 100_000),
    ],
)
def test_malformed_forms(client: httpx.Client, content_type: str, body: bytes) -> None:
    """A form that is malformed or exceeds a limit is rejected as a bad body."""
    response = client.post("/enhance", content=body, headers={"Content-Type": content_type})
    problem(response, 400, "bad-body")


def raw_deflate(body: bytes) -> bytes:
    """Compress without the header of zlib, as some clients do."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:100]) + gzip.compress(body[100:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("", bytes),
    ],
)
@pytest.mark.parametrize("form", [False, True])
def test_compressed_bodies(client, png, encoding, compress, form) -> None:
    """Compressed images and forms give the same LUT as uncompressed ones."""
    expected = client.post("/lut?size=2", content=png).headers["x-look"]
    body = part('name="file"', png) + END if form else png
    headers = {"Content-Encoding": encoding} | (FORM if form else {})
    response = client.post("/lut?size=2", content=compress(body), headers=headers)
    assert response.headers.get("x-look") == expected, response.text


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(bytes(1000))[:-9]),
        ("gzip", gzip.compress(b"x") * 100),
        ("deflate", b"\xff\xff\xff"),
        ("deflate", zlib.compress(bytes(1000))[:-5]),
        ("gzip", b""),
    ],
)
def test_damaged_compression(client: httpx.Client, encoding: str, body: bytes) -> None:
    """Data that cannot be inflated to its end is a bad body."""
    response = client.post("/enhance", content=body, headers={"Content-Encoding": encoding})
    problem(response, 400, "bad-body")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "aws-chunked"])
def test_other_encodings_are_named(client: httpx.Client, png: bytes, encoding: str) -> None:
    """An unsupported encoding is rejected with its name and those that are supported."""
    response = client.post("/enhance", content=png, headers={"Content-Encoding": encoding})
    document = problem(response, 415, "unsupported-encoding")
    assert encoding in document["detail"]
    assert document["accepted"] == ["gzip", "deflate", "identity"]
    assert response.headers["accept-encoding"] == "gzip, deflate, identity"


def test_inflated_bodies_count_against_the_limits() -> None:
    """A small body that inflates beyond a limit is rejected, and its memory released."""
    bomb = gzip.compress(bytes(4_000_000))
    headers = {"Content-Encoding": "gzip"}
    with serving(UPLOAD_MAX_BYTES=3_000_000, UPLOAD_BUDGET_BYTES=2_000_000) as server:
        client = server.client
        half = gzip.compress(bytes(2_500_000))
        problem(client.post("/enhance", content=half, headers=headers), 503, "overloaded")
        fitting = gzip.compress(bytes(1_500_000))
        for _ in range(3):
            response = client.post("/enhance", content=fitting, headers=headers)
            problem(response, 415, "not-an-image")
        assert "clut_in_flight_bytes 0.0" in client.get("/metrics").text
    with serving(UPLOAD_MAX_BYTES=3_000_000) as server:
        response = server.client.post("/enhance", content=bomb, headers=headers)
        problem(response, 413, "body-too-large")
