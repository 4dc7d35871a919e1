"""POST /enhance: pixels, formats, options and headers."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from app.luts.apply import apply
from app.luts.formats.cube import read_cube
from tests.helpers.tolerances import assert_same_pixels


def decode(response: httpx.Response) -> Image.Image:
    """Decode the image in a response."""
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Encode an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def difference(a: Image.Image, b: Image.Image) -> float:
    """Return the mean difference in levels."""
    return float(np.abs(np.asarray(a.convert("RGB"), int) - np.asarray(b.convert("RGB"))).mean())


@pytest.fixture(scope="module")
def photo(photos: Path) -> Image.Image:
    """Decode the photo of the fixture `otters`."""
    image = Image.open(photos / "otters.jpg")
    image.load()
    return image


def test_enhance(client: httpx.Client, otters: bytes, photo: Image.Image) -> None:
    """The response is a JPEG of the same size with other colours; headers name look and model."""
    response = client.post("/enhance", content=otters, headers={"Content-Type": "image/jpeg"})
    enhanced = decode(response)
    assert response.headers["content-type"] == "image/jpeg"
    assert (enhanced.format, enhanced.size) == ("JPEG", photo.size)
    assert difference(enhanced, photo) > 1
    assert response.headers["x-model"] == "default@2"
    token = response.headers["x-look"]
    assert len(token) < 200
    assert response.headers["link"] == f'</lut/{token}>; rel="describedby"'
    assert response.headers["vary"] == "Accept"
    stages = [part.split(";dur=") for part in response.headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["queue", "decode", "predict", "apply", "encode"]
    assert all(float(duration) >= 0 for _, duration in stages)


def test_the_response_is_the_photo_through_its_lut(
    client: httpx.Client, otters: bytes, photo: Image.Image
) -> None:
    """The .cube of the token, applied to the photo, gives the pixels of the response."""
    response = client.post("/enhance?format=png", content=encode(photo, "PNG"))
    lut = read_cube(client.get(f"/lut/{response.headers['x-look']}").text)
    expected = np.array(photo)
    apply(expected, lut)
    result = np.asarray(decode(response))
    assert np.abs(result.astype(int) - expected).max() <= 1


def test_forms(client: httpx.Client, otters: bytes) -> None:
    """A multipart upload of the part `file` gives the same response as the raw bytes."""
    raw = client.post("/enhance?format=png", content=otters)
    parts = {"file": ("otters.jpg", otters, "image/jpeg")}
    form = client.post("/enhance?format=png", files=parts)
    assert form.status_code == 200
    assert_same_pixels(form.content, raw.content)


def test_chunked_bodies(client: httpx.Client, otters: bytes) -> None:
    """A body without Content-Length is read to its end."""
    pieces = (otters[i : i + 10_000] for i in range(0, len(otters), 10_000))
    assert client.post("/enhance", content=pieces).status_code == 200


def test_the_format_is_detected_from_the_content(client: httpx.Client, otters: bytes) -> None:
    """Content types are ignored: phones and curl send wrong ones."""
    for label in ("image/png", "application/octet-stream", "application/x-www-form-urlencoded"):
        response = client.post("/enhance", content=otters, headers={"Content-Type": label})
        assert decode(response).format == "JPEG"


def test_strength(client: httpx.Client, dim: bytes) -> None:
    """Strength 0 leaves the pixels unchanged, and 0.5 changes them half as much as 1."""
    photo = Image.open(io.BytesIO(dim))
    png = encode(photo, "PNG")
    none, half, whole = (
        decode(client.post(f"/enhance?strength={strength}", content=png))
        for strength in (0, 0.5, 1)
    )
    assert difference(none, photo) == 0
    assert difference(half, photo) == pytest.approx(difference(whole, photo) / 2, rel=0.1)


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "avif"])
def test_formats(client: httpx.Client, otters: bytes, image_format: str) -> None:
    """The response has the requested format."""
    response = client.post(f"/enhance?format={image_format}", content=otters)
    assert response.headers["content-type"] == f"image/{image_format}"
    assert decode(response).format == image_format.upper()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("image/avif,image/webp,*/*;q=0.8", "image/webp"),
        ("image/jpeg;q=0.5,image/avif;q=0.4", "image/jpeg"),
        ("image/webp,image/png", "image/png"),
        ("text/html", "image/png"),
        ("nonsense", "image/png"),
    ],
)
def test_accept_decides_where_it_names_images(
    client: httpx.Client, photo: Image.Image, accept: str, expected: str
) -> None:
    """Of a PNG: what Accept prefers, and the photo's own format where it does not care."""
    response = client.post(
        "/enhance?max_side=64", content=encode(photo, "PNG"), headers={"Accept": accept}
    )
    assert response.headers["content-type"] == expected


def test_formats_that_are_only_read_become_jpeg(client: httpx.Client, photo: Image.Image) -> None:
    """A BMP comes back as a JPEG, a TIFF as a TIFF."""
    for sent, returned in (("BMP", "JPEG"), ("TIFF", "TIFF")):
        assert decode(client.post("/enhance", content=encode(photo, sent))).format == returned


def test_quality(client: httpx.Client, otters: bytes) -> None:
    """A higher quality makes a larger file."""
    sizes = [
        len(client.post(f"/enhance?quality={quality}", content=otters).content)
        for quality in (20, 60, 95)
    ]
    assert sizes == sorted(sizes)
    assert sizes[2] > 2 * sizes[0]


def test_max_side(client: httpx.Client, otters: bytes) -> None:
    """The longer side is reduced to the requested one, and never enlarged."""
    assert decode(client.post("/enhance?max_side=200", content=otters)).size == (200, 113)
    assert decode(client.post("/enhance?max_side=9999", content=otters)).size == (853, 480)


def test_orientation(client: httpx.Client, photo: Image.Image) -> None:
    """Given a photo with EXIF orientation 6, the image is upright and its tag is 1."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = photo.transpose(Image.Transpose.ROTATE_90)
    sent = encode(lying, "JPEG", exif=exif.tobytes(), quality=95)
    result = decode(client.post("/enhance?strength=0&quality=95", content=sent))
    assert result.size == photo.size
    assert result.getexif().get(0x0112) == 1
    assert difference(result, photo) < 3


def test_metadata(client: httpx.Client, photo: Image.Image) -> None:
    """Date and place with keep, the date alone with safe, nothing with strip."""
    exif = Image.Exif()
    exif[0x0132] = "2026:11:22 10:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    sent = encode(photo, "JPEG", exif=exif.tobytes())
    kept = {}
    for policy in ("keep", "safe", "strip"):
        result = decode(client.post(f"/enhance?metadata={policy}", content=sent)).getexif()
        kept[policy] = (result.get(0x0132), bool(result.get_ifd(0x8825)))
    assert kept == {
        "keep": ("2026:11:22 10:00:00", True),
        "safe": ("2026:11:22 10:00:00", False),
        "strip": (None, False),
    }


def test_one_look_for_an_album(client: httpx.Client, photos: Path, otters: bytes) -> None:
    """A look that was predicted for one photo can be applied to another."""
    look = client.post("/enhance", content=otters).headers["x-look"]
    lake = (photos / "lake.jpg").read_bytes()
    own = client.post("/enhance", content=lake)
    borrowed = client.post("/enhance", params={"look": look}, content=lake)
    assert borrowed.headers["x-look"] == look != own.headers["x-look"]
    assert "predict" not in borrowed.headers["server-timing"]
    assert difference(decode(borrowed), decode(own)) > 0.5


def test_alpha_is_untouched(client: httpx.Client, photo: Image.Image) -> None:
    """Transparency comes back as it was."""
    ramp = Image.linear_gradient("L").resize(photo.size)
    photo = photo.copy()
    photo.putalpha(ramp)
    result = decode(client.post("/enhance", content=encode(photo, "PNG")))
    assert result.mode == "RGBA"
    assert np.array_equal(np.asarray(result)[..., 3], np.asarray(ramp))


def test_request_ids(client: httpx.Client, otters: bytes) -> None:
    """The request ID of a client is returned if it is safe to log; otherwise one is generated."""
    for given, safe in (("abc-123", True), ("a b", False), ("x" * 200, False), (None, False)):
        headers = {"X-Request-ID": given} if given else {}
        returned = client.get("/livez", headers=headers).headers["x-request-id"]
        assert (returned == given) is safe
        assert returned
