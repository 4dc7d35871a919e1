"""Coverage-guided fuzzing of parsers of untrusted input; `make fuzz` runs every target for a while.

    python -m tests.fuzz cube -max_total_time=60

A target fails at an exception that is no Problem, FormatError or BadLutFile, and writes the input
to a file, which becomes a regression test.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import atheris
import imagecodecs
import numpy as np

COMPILED = [
    "app.luts.formats.base",
    "app.luts.kernels",
    "app.imaging.resize",
]  # of bytecode as it was

with atheris.instrument_imports(include=["app", "tifffile"], exclude=COMPILED):
    from app.errors import BadLutFile, Problem
    from app.imaging import xmp as xmp_packets
    from app.imaging.codecs import bmff, bmff_items, jpeg, video_headers
    from app.imaging.codecs import jxl as jxl_codec
    from app.imaging.codecs.bmff_items import read_configuration
    from app.imaging.codecs.gain_map import read_gain_map
    from app.imaging.colour import reduce_profile
    from app.imaging.decode import TruncatedPolicy, decode
    from app.imaging.exif import Exif
    from app.imaging.metadata import MetadataPolicy, filter_metadata, reset_orientation
    from app.imaging.probe import Limits, probe
    from app.imaging.raster import EncodeSettings, FormatError, Metadata
    from app.luts.formats.cube import read_cube, write_cube
    from app.luts.lut3d import Lut3D
    from app.luts.token import LookToken
    from tests.helpers.files import XMP, one_of_each, scene
    from tests.helpers.files import exif as exif_block
    from tests.helpers.gain_maps import apple_jpeg, ultra_hdr, without_segments
    from tests.helpers.heic import heic, heic_item
    from tests.helpers.heif_container import Item, avif_item, box, container, grid, rotated, size_of

SMALL = Limits(max_pixels=100_000)

logging.getLogger("tifffile").disabled = True


def header(data: bytes) -> None:
    """Detect the format, and read the header of all but HEIF, whose decoder is known to crash."""
    if data[4:8] != b"ftyp":
        probe(data, Limits())


def pixels(data: bytes) -> None:
    """Decode formats of which a part is decoded by code of this project."""
    if data[:2] in (b"BM", b"\xff\xd8", b"\x89P", b"RI", b"II", b"MM"):
        image = decode(probe(data, SMALL), TruncatedPolicy.FILL)
        assert image.pixels.size <= 3 * SMALL.max_pixels


def gain_map(data: bytes) -> None:
    """Read the gain map of a JPEG; once it is written with an image, it is read again."""
    if not data.startswith(b"\xff\xd8"):
        return
    header = probe(data, SMALL).header
    found = read_gain_map(data, header)
    if found is not None:
        settings = EncodeSettings(90, "420", Metadata(xmp=header.metadata.xmp), b"", found)
        written = jpeg.encode(np.zeros((8, 8, 3), np.uint8), settings)
        assert read_gain_map(written, replace(header, orientation=1)) is not None


def boxes(data: bytes) -> None:
    """Read the containers of AVIF and HEIF; a repaired one has nothing to repair."""
    properties = bmff.primary_properties(data)
    bmff.read_orientation(properties)
    bmff.read_pixel_aspect(properties)
    bmff.clean_aperture(dict(properties).get(b"clap", b""), 640, 480)
    bmff_items.read_metadata(data)
    repaired = bmff.repair(data)
    assert len(repaired) == len(data)
    assert bmff.repair(repaired) == repaired
    bmff_items.check_image(data, "A file", (b"av01", b"grid"))


def jxl(data: bytes) -> None:
    """Parse the header of a codestream."""
    jxl_codec.parse_codestream_header(jxl_codec.SIGNATURE + data)


def video_header(data: bytes) -> None:
    """Parse the start of an AV1 bitstream, or HEVC's parameters after the head of their box."""
    if data[:1] == b"1":
        video_headers.read_av1_colours(data[1:])
    else:
        with suppress(IndexError):
            video_headers.read_hevc_colours(data)


def xmp(data: bytes) -> None:
    """Merge two packets, and read the orientation of the result."""
    half = len(data) // 2
    xmp_packets.read_orientation(xmp_packets.merge([data[:half], data[half:]]))


def icc(data: bytes) -> None:
    """Reduce a profile, whose length stays."""
    assert len(reduce_profile(data)) == len(data)


def metadata(data: bytes) -> None:
    """Filter the EXIF and XMP of an accepted image."""
    half = len(data) // 2
    blocks = reset_orientation(Metadata(exif=data[:half], xmp=data[half:]))
    for policy in MetadataPolicy:
        filter_metadata(blocks, policy)


def exif(data: bytes) -> None:
    """Read an EXIF block; the written block can be read again."""
    try:
        block = Exif.parse(data)
    except Exception:
        return
    once = block.tobytes()
    if once is not None:
        Exif.parse(once)


def cube(data: bytes) -> None:
    """Parse a .cube file."""
    read_cube(data.decode("latin-1"))


def token(data: bytes) -> None:
    """Parse a look token; an accepted one is equal when it is written again."""
    text = data.decode("latin-1")
    look = LookToken.decode(text)
    assert LookToken.decode(look.encode(half=False)).code.shape == look.code.shape


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        header,
        pixels,
        gain_map,
        boxes,
        jxl,
        video_header,
        xmp,
        icc,
        metadata,
        exif,
        cube,
        token,
    )
}


def seeds(folder: Path) -> None:
    """Write valid inputs for every target, from which the fuzzer starts."""
    code = np.linspace(-1, 1, 20, dtype=np.float32)
    files = list(one_of_each().values())
    part = Item(b"grid", grid(1, 1, 96, 64), [size_of(96, 64)], [(b"dimg", [1])])
    exif_item = Item(b"Exif", bytes(4) + exif_block(6)[6:], references=[(b"cdsc", [0])])
    valid = {
        "header": files,
        "pixels": files,
        "gain_map": [
            ultra_hdr(),
            without_segments(ultra_hdr(), b"http://ns.adobe.com/xap/1.0/"),
            without_segments(ultra_hdr(), b"urn:iso:std:iso:ts:21496"),
            *(apple_jpeg(stated, orientation=6) for stated in ("maker note", "xmp")),
        ],
        "boxes": [
            container(b"avif", [part, avif_item(scene(), rotated(1), box(b"clap", bytes(32)))]),
            container(b"heic", [heic_item(scene()), exif_item]),
        ],
        "jxl": [it[2:] for it in files if it.startswith(jxl_codec.SIGNATURE)],
        "video_header": [
            b"1" + avif_item(scene()).data,
            read_configuration(heic([scene()]), b"hvcC"),
        ],
        "xmp": [XMP + XMP],
        "icc": [imagecodecs.cms_profile("adobergb"), imagecodecs.cms_profile("lab4")],
        "metadata": [exif_block(6) + XMP],
        "exif": [exif_block(6)],
        "cube": [write_cube(Lut3D.identity(2), title="a").encode()],
        "token": [LookToken(bytes(8), code).encode(half=half).encode() for half in (False, True)],
    }
    for target, contents in valid.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / target / str(number)).write_bytes(content)


def main() -> None:
    """Fuzz a target until it fails or its time is up."""
    if sys.argv[1] == "seeds":
        seeds(Path(sys.argv[2]))
        return
    target = TARGETS[sys.argv.pop(1)]

    def survives(data: bytes) -> None:
        try:
            target(data)
        except (Problem, FormatError, BadLutFile):
            return

    atheris.Setup(sys.argv, survives)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
