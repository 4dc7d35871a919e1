"""Kinds of TIFF: their samples become sRGB, and unsupported kinds are named."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from app.errors import DamagedImage, NotAnImage
from app.imaging.decode import decode
from app.imaging.probe import probe
from app.policies import Limits
from tests.helpers.files import photo, ramp, saved, scene, scene_16, source, tiff

VOID = 4
TWO_INKS = [(332, "H", 1, 2, True)]
ORIENTATION = [(274, "H", 1, 1, True)]


def off(body: bytes, expected: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Return how far the pixels are off, in levels of 256."""
    pixels = photo(body).pixels
    scale = 257 if pixels.dtype == np.uint16 else 1
    return np.abs(pixels / scale - (scene() if expected is None else expected))


def with_tag(body: bytes, code: int, value: object) -> bytes:
    """Overwrite a tag."""
    file = BytesIO(body)
    with tifffile.TiffFile(file, mode="r+b") as changed:
        changed.pages.first.tags[code].overwrite(value)
    return file.getvalue()


@pytest.mark.parametrize("samples", [scene(), scene_16()], ids=["8", "16"])
def test_samples_of_undefined_format_are_unsigned(samples: NDArray[Any]) -> None:
    """SampleFormat 4, "undefined", is read as without the tag."""
    body = tiff(samples, photometric="rgb", extratags=[(339, "H", 3, (VOID,) * 3, True)])
    np.testing.assert_array_equal(photo(body).pixels, samples)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"planarconfig": "separate"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd", "tile": (32, 32)},
    ],
    ids=str,
)
def test_floats_of_0_to_1(dtype: str, order: str, layout: dict[str, Any]) -> None:
    """Floats become 16 bits, whatever their layout."""
    samples = (scene() / 255).astype(dtype)
    planes = np.moveaxis(samples, 2, 0) if "planarconfig" in layout else samples
    body = tiff(planes, photometric="rgb", byteorder=order, **layout)
    assert photo(body).pixels.dtype == np.uint16
    assert off(body).max() < (0.1 if dtype == "f2" else 0.01)


def test_floats_outside_are_clipped() -> None:
    """Beyond 0 and 1 there is black and white; NaN is black."""
    values = np.array([[-3, 0, 0.5, 1, 7, np.inf, -np.inf, np.nan]], np.float32)
    pixels = photo(tiff(values, photometric="minisblack")).pixels[0, :, 1]
    assert pixels.tolist() == [0, 0, 32768, 65535, 65535, 65535, 0, 0]


def test_floats_with_a_linear_profile() -> None:
    """The profile defines the floats: here light, as in Photoshop's files of 32 bits."""
    light = np.where(scene() <= 10, scene() / 3294.6, ((scene() / 255 + 0.055) / 1.055) ** 2.4)
    profile = linear_profile()
    body = tiff(light.astype(np.float32), photometric="rgb", iccprofile=profile)
    assert off(body).max() < 1


def linear_profile() -> bytes:
    """Pillow's sRGB profile, with straight lines for curves."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(int.from_bytes(profile[128:132])):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            profile[offset : offset + size] = b"curv".ljust(size, b"\0")
    return bytes(profile)


def test_premultiplied_floats() -> None:
    """Colours of floats are divided by their alpha, too."""
    alpha = np.maximum(ramp(), 64)[..., None] / 255
    samples = np.dstack((scene() / 255 * alpha, alpha)).astype(np.float32)
    body = tiff(samples, photometric="rgb", extrasamples=["assocalpha"])
    assert off(body).max() < 0.1
    got = photo(body).alpha
    assert got is not None
    assert np.abs(got / 257 - alpha[..., 0] * 255).max() < 0.01


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_integers_of_32_bits(compression: str | None) -> None:
    """The upper 16 bits are kept."""
    body = tiff(scene_16().astype(np.uint32) << 16 | 7, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(photo(body).pixels, scene_16())


def lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return CIELAB with a D50 white: IEC 61966-2-1, Bradford, and CIE 15."""
    light = np.where(rgb <= 10, rgb / 3294.6, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
    scaled = light @ to_xyz.T / (0.96422, 1, 0.82521)
    root = np.where(scaled > 216 / 24389, np.cbrt(scaled), (24389 / 27 * scaled + 16) / 116)
    x, y, z = np.moveaxis(root, 2, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=2)


def lab_samples(kind: str) -> NDArray[Any]:
    """Code CIELAB as in the TIFF notes."""
    lightness, chroma = np.split(lab(scene()), [1], axis=2)
    coded = {
        "cielab u1": (lightness * 2.55, np.rint(chroma).astype(np.int8).view(np.uint8)),
        "cielab u2": (lightness * 655.35, np.rint(chroma * 256).astype(np.int16).view(np.uint16)),
        "icclab u1": (lightness * 2.55, chroma + 128),
        "icclab u2": (lightness * 652.8, chroma * 256 + 32768),
    }[kind]
    return np.rint(np.dstack(coded)).astype(kind[-2:])


@pytest.mark.parametrize("kind", ["cielab u1", "cielab u2", "icclab u1", "icclab u2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_lab(kind: str, order: str) -> None:
    """CIELAB in its four codings becomes the sRGB that it was made of."""
    body = tiff(lab_samples(kind), photometric=kind[:6], byteorder=order, compression="lzw")
    assert photo(body).pixels.dtype == np.dtype(f"u{kind[-1]}")
    assert off(body).mean() < (1 if "u1" in kind else 0.2)
    assert off(body).max() < (25 if "u1" in kind else 1)  # in the dark, a step of 8 bits is large


def test_lab_that_states_signed_samples() -> None:
    """As libvips writes it; L is unsigned nevertheless."""
    body = tiff(lab_samples("cielab u2").view(np.int16), photometric="cielab")
    assert off(body).max() < 1


def test_lab_in_floats() -> None:
    """L of 0 to 100, a and b as they are."""
    assert off(tiff(lab(scene()).astype(np.float32), photometric="cielab")).max() < 1


def test_lab_of_pillow() -> None:
    """Pillow and Little CMS agree on what Pillow writes."""
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    body = saved(
        ImageCms.profileToProfile(Image.fromarray(scene()), *profiles, outputMode="LAB"), "TIFF"
    )
    with Image.open(BytesIO(body)) as image:
        back = ImageCms.profileToProfile(image, *profiles[::-1], outputMode="RGB")
    assert off(body, np.asarray(back)).mean() < 1
    assert off(body).mean() < 1


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("width", [96, 93])
@pytest.mark.parametrize("options", [{}, {266: 2}, {292: 1}, {278: 7}], ids=str)
def test_fax(compression: str, width: int, options: dict[int, int]) -> None:
    """CCITT compressions of either bit order, in one and in two dimensions, as libtiff reads it."""
    bilevel = Image.fromarray(scene(width)).convert("1")
    body = saved(bilevel, "TIFF", compression=compression, tiffinfo=options)
    expected = np.repeat(np.asarray(bilevel)[..., None] * 255, 3, axis=2)
    np.testing.assert_array_equal(photo(body).pixels, expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes(bits: int) -> None:
    """Entries of 16 bits, and of 8 bits, which some programs write."""
    image = Image.fromarray(scene()).quantize(200)
    assert image.palette is not None
    palette = np.frombuffer(image.palette.tobytes().ljust(768, b"\0"), np.uint8).reshape(256, 3).T
    body = tiff(np.asarray(image), colormap=palette.astype(np.uint16) * (257 if bits == 16 else 1))
    np.testing.assert_array_equal(photo(body).pixels, np.asarray(image.convert("RGB")))


def palette_tiff(bits: int, rows: bytes, palette: NDArray[np.uint16]) -> bytes:
    """Make a TIFF of 13 by 9 indices of a few bits; TIFF 6.0 section 5."""
    values = {256: 13, 257: 9, 258: bits, 259: 1, 262: 3, 273: 8, 277: 1, 278: 9, 279: len(rows)}
    directory = 8 + len(rows) + len(rows) % 2
    entries = [struct.pack("<HHII", tag, 3, 1, value) for tag, value in values.items()]
    colours = directory + 2 + 12 * 10 + 4
    entries.append(struct.pack("<HHII", 320, 3, palette.size, colours))
    ifd = struct.pack("<H", 10) + b"".join(entries) + bytes(4)
    head = b"II*\0" + struct.pack("<I", directory)
    return head + rows.ljust(directory - 8, b"\0") + ifd + palette.astype("<u2").tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_colours(bits: int) -> None:
    """Indices of few bits are looked up, as Pillow does; those of one bit are no mask."""
    rng = np.random.default_rng(bits)
    palette = rng.integers(0, 65_536, (3, 1 << bits), dtype=np.uint16)
    indices = rng.integers(0, 1 << bits, (9, 13), dtype=np.uint8)
    digits = np.unpackbits(indices[..., None], axis=2)[..., 8 - bits :].reshape(9, -1)
    body = palette_tiff(bits, np.packbits(digits, axis=1).tobytes(), palette)
    pixels = photo(body).pixels
    np.testing.assert_array_equal(pixels, (palette >> 8).astype(np.uint8).T[indices])
    with Image.open(BytesIO(body)) as image:
        np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


def test_a_palette_with_alpha() -> None:
    """The second sample is straight alpha."""
    image = Image.fromarray(scene()).quantize(64).convert("PA")
    image.putalpha(Image.fromarray(ramp()))
    decoded = photo(saved(image, "TIFF"))
    np.testing.assert_array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(decoded.alpha, ramp())


def test_an_empty_page_in_black_and_white() -> None:
    """It has thousands of pixels in a byte, and is no bomb."""
    page = Image.new("1", (4000, 3000), 1)
    body = saved(page, "TIFF", compression="group4")
    assert page.width * page.height > 4_000_000 + 1000 * len(body)
    assert photo(body).pixels.min() == 255


@pytest.mark.parametrize("samples", [scene(), scene()[..., 0], scene_16()], ids=["8", "gray", "16"])
@pytest.mark.parametrize("compression", [33004, 33005, 34712])
@pytest.mark.parametrize("tile", [None, (32, 48)])
def test_jpeg_2000(samples: NDArray[Any], compression: int, tile: tuple[int, int] | None) -> None:
    """Lossless JPEG 2000 in strips and in tiles, as tifffile reads it."""
    body = tiff(samples, compression=compression, tile=tile, photometric=None)
    expected = np.broadcast_to(np.atleast_3d(samples), (64, 96, 3))
    np.testing.assert_array_equal(photo(body).pixels, expected)


@pytest.mark.parametrize("tag", ["libvips", "Aperio", "photometric"])
@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_2000_in_ycbcr(tag: str, bits: int) -> None:
    """YCbCr that the codestream does not state: libvips states RGB, Aperio its own compression."""
    full = 2**bits - 1
    matrix = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    ycbcr = scene() / 255 @ matrix.T * full + (0, (full + 1) / 2, (full + 1) / 2)
    body = tiff(
        np.rint(ycbcr).astype(np.uint8 if bits == 8 else np.uint16),
        photometric="ycbcr" if tag == "photometric" else "rgb",
        compression={"libvips": 33004, "Aperio": 33003, "photometric": 34712}[tag],
        tile=(32, 32),
        software=False,
        extratags=ORIENTATION if tag == "libvips" else [],
        metadata=None,
    )
    assert off(body).max() <= (2 if bits == 8 else 0.1)


def test_a_jpeg_2000_tile_larger_than_stated() -> None:
    """A codestream cannot make the decoder take more memory than the TIFF's size needs."""
    body = bytearray(tiff(scene(), photometric="rgb", compression=34712))
    size = body.index(b"\xff\x4f\xff\x51") + 8
    struct.pack_into(">II", body, size, 60_000, 60_000)
    with pytest.raises(DamagedImage, match="another size"):
        photo(bytes(body))


def pages(*pictures: NDArray[Any], **options: Any) -> bytes:
    """Write a TIFF of several pages."""
    target = BytesIO()
    with tifffile.TiffWriter(target) as writer:
        for picture in pictures:
            writer.write(picture, photometric="rgb", metadata=None, **options)
    return target.getvalue()


def test_the_first_page_is_used() -> None:
    """Of several pages of equal rank the first is the image, and a note states it."""
    image = photo(pages(scene(), 255 - scene(), scene_16(40, 30)))
    np.testing.assert_array_equal(image.pixels, scene())
    assert image.notes == ("first-page",)
    assert photo(pages(scene())).notes == ()


def test_previews_and_masks_are_no_pages() -> None:
    """A reduced copy of the image, or its mask, is not left out: it is not one of its pages."""
    target = BytesIO()
    with tifffile.TiffWriter(target) as writer:
        writer.write(scene(), photometric="rgb", metadata=None)
        writer.write(scene()[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(scene()[..., 0] > 99, subfiletype=4, photometric="mask", metadata=None)
    assert photo(target.getvalue()).notes == ()


def test_a_damaged_second_page_does_not_matter() -> None:
    """The first page is read, whatever is where the next one should be."""
    body = pages(scene(), scene())
    with tifffile.TiffFile(BytesIO(body)) as file:
        second = file.pages[1].offset
    for directory in (b"", b"\xff" * 40, b"\5\0" + b"\xab" * 30):
        damaged = body[:second] + directory
        np.testing.assert_array_equal(photo(damaged).pixels, scene())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (tiff(scene().astype(np.int16), photometric="rgb"), "signed integer samples of 16 bits"),
        (tiff(scene().astype(np.complex64), photometric="rgb"), "complex samples"),
        (tiff(scene().astype(np.uint64), photometric="rgb"), "with integer samples of 64 bits"),
        (tiff(scene(), photometric="rgb", compression="webp"), "compression WEBP"),
        (tiff(scene(), photometric="rgb", compression="png"), "compression PNG"),
        (tiff(scene(), photometric="itulab"), "ITULAB colours"),
        (tiff(scene()[..., 0], photometric="cfa"), "CFA colours"),
        (tiff(np.dstack([scene()] * 2), photometric="rgb"), "6 samples a pixel"),
        (with_tag(tiff(scene(), photometric="rgb"), 258, (8, 8, 4)), "different numbers of bits"),
        (
            tiff(np.dstack([scene()[..., :2]] * 2), photometric="separated", extratags=TWO_INKS),
            "inks",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_read_is_named(body: bytes, reason: str) -> None:
    """Valid files of other kinds are not called damaged."""
    with pytest.raises(NotAnImage, match=reason):
        source(body)


def test_a_cut_float_tiff_is_damaged() -> None:
    """A file that is cut short is damaged, of whatever kind its samples are."""
    body = tiff((scene() / 255).astype(np.float32), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(BytesIO(body)) as file:
        start = file.pages.first.dataoffsets[0]
    with pytest.raises(DamagedImage):
        decode(probe(body[:start] + bytes(len(body) - start), Limits()))


def test_samples_of_different_formats_are_unsupported() -> None:
    """The message names the unsupported part, before a library opens the file."""
    body = tiff(scene().astype(np.int8), photometric="rgb")
    signed = struct.pack("<3H", 2, 2, 2)
    assert body.count(signed) == 1
    with pytest.raises(NotAnImage, match="different formats"):
        source(body.replace(signed, struct.pack("<3H", 2, 1, 2)))


def test_planes_of_jpeg() -> None:
    """Each plane is a JPEG of one component; compared with the planes that were coded."""
    planes = np.moveaxis(scene(), 2, 0)
    body = tiff(
        planes, photometric="rgb", planarconfig="separate", compression="jpeg", rowsperstrip=64
    )
    assert off(body).mean() < 2


def test_a_predictor_without_compression_is_ignored() -> None:
    """As libtiff ignores it."""
    body = tiff(scene(), photometric="rgb", extratags=[(317, "H", 1, 2, True)])
    assert off(body).max() == 0


def test_a_preview_alone_is_unsupported() -> None:
    """A file whose first page is a reduced image is a camera's raw file, as a rule."""
    with pytest.raises(NotAnImage, match="preview"):
        source(tiff(scene(), photometric="rgb", subfiletype=1))
