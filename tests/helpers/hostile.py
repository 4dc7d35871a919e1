"""Files that are made to cost a service memory or time: `python -m tests.helpers.hostile FOLDER`.

The command writes them to a folder, for `python -m benchmarks.hostile FOLDER`.
"""

from __future__ import annotations

import lzma
import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from app.imaging.colour import srgb_profile
from tests.helpers.files import saved, scene, tiff, with_chunks
from tests.helpers.heic import heic
from tests.helpers.heif_container import box, full_box, size_of


def _gray(side: int) -> np.ndarray:
    return np.full((side, side, 3), 128, np.uint8)


def _flat(side: int, image_format: str, **options: object) -> bytes:
    return saved(_gray(side), image_format, **options)


def _with_tag(signature: bytes, content: bytes) -> bytes:
    """Return the sRGB profile with a further tag."""
    profile = srgb_profile()
    (count,) = struct.unpack_from(">I", profile, 128)
    table = [struct.unpack_from(">4sII", profile, 132 + 12 * n) for n in range(count)]
    start = 132 + 12 * count
    entries = [(name, at + 12, size) for name, at, size in table]
    entries.append((signature, len(profile) + 12, len(content)))
    new = profile[:128] + struct.pack(">I", count + 1)
    new += b"".join(struct.pack(">4sII", *entry) for entry in entries)
    new += profile[start:] + content
    return struct.pack(">I", len(new)) + new[4:]


def _elements(count: int) -> bytes:
    """Return a multiProcessElementsType of many elements that share one matrix."""
    matrix = struct.pack(">4s4xHH12f", b"matf", 3, 3, 1.01, *[0, 0, 0, 1, 0, 0, 0, 1], *[0] * 3)
    place = struct.pack(">II", 16 + 8 * count, len(matrix))
    return struct.pack(">4s4xHHI", b"mpet", 3, 3, count) + place * count + matrix


def _table(signature: bytes, inputs: int, outputs: int, grid: int) -> bytes:
    """Return a table with a grid of more points than it has bytes."""
    head = struct.pack(">4s4xBBBx9i", signature, inputs, outputs, grid, *[65536, 0, 0] * 3)
    return head + (struct.pack(">HH", 2, 2) if signature == b"mft2" else b"") + bytes(4096)


def _picture(image_format: str, profile: bytes) -> bytes:
    return saved(Image.fromarray(scene(400, 400)), image_format, icc_profile=profile)


def elements_profile(signature: bytes, count: int) -> bytes:
    """Return the sRGB profile with a tag of multi-process elements."""
    return _with_tag(signature, _elements(count))


def _png_with_elements() -> bytes:
    profile = zlib.compress(elements_profile(b"D2B0", 150_000))
    return with_chunks(saved(scene(400, 400), "PNG"), iCCP=b"icc\0\0" + profile)


def _damaged_texts() -> bytes:
    """Return a PNG of 1000 texts of 4 MB, the end of each of which is missing."""
    text = zlib.compress(bytes(4_000_000))[:-6]
    png = saved(scene(), "PNG")
    chunk = struct.pack(">I", len(text) + 3) + b"zTXtk\0\0" + text + bytes(4)
    return png[:33] + chunk * 1000 + png[33:]


def _tiff_with_elements() -> bytes:
    samples = scene(400, 400).astype(np.uint16) * 257
    profile = elements_profile(b"D2B2", 20_000)
    return tiff(samples, photometric="rgb", iccprofile=profile)


def _png_with_table(signature: bytes, inputs: int, outputs: int, grid: int) -> bytes:
    return _picture("PNG", _with_tag(b"A2B0", _table(signature, inputs, outputs, grid)))


def _one_strip(
    compression: int, data: bytes, *, side: int = 16, depth: int = 1, tile: int = 0
) -> bytes:
    """Return a square TIFF with one strip or tile."""
    entries = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 2),
        (277, 3, 1, 3),
    ]
    if tile:
        places = [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, 8), (325, 4, 1, len(data))]
    else:
        places = [(273, 4, 1, 8), (278, 4, 1, side), (279, 4, 1, len(data))]
    if depth > 1:
        places.append((32997, 4, 1, depth))
    data += bytes(len(data) % 2)
    entries = sorted(entries + places)
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def _many_pieces(width: int, height: int, *, tiles: bool, padding: int = 0) -> bytes:
    """Return a TIFF of strips or tiles of one pixel each, which share their bytes."""
    count, piece = width * height, zlib.compress(b"\x80") + bytes(padding)
    piece += bytes(len(piece) % 2)
    places = 8 + len(piece)
    offset, length = (324, 325) if tiles else (273, 279)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        (offset, 4, count, places),
        (length, 4, count, places + 4 * count),
    ]
    entries += [(322, 3, 1, 1), (323, 3, 1, 1)] if tiles else [(278, 3, 1, 1)]
    data = piece + struct.pack("<I", 8) * count + struct.pack("<I", len(piece)) * count
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def _many_boxes(file: bytes) -> bytes:
    """Return a file with 2 million empty boxes behind its type."""
    (end,) = struct.unpack_from(">I", file)
    return file[:end] + box(b"free", b"") * 2_000_000 + file[end:]


def _many_properties(brand: bytes) -> bytes:
    """Return a container of a million properties."""
    properties = box(b"ipco", size_of(16, 16) + box(b"skip", b"") * 1_000_000)
    return _container(brand, full_box(b"pitm", b"\0\1") + box(b"iprp", properties))


def _many_items(brand: bytes) -> bytes:
    """Return a container of 65,000 items of metadata, each of which is all of the file."""
    entries = b"".join(
        full_box(b"infe", struct.pack(">HH4sx", item, 0, b"Exif"), version=2)
        for item in range(65_000)
    )
    places = b"".join(struct.pack(">HHHII", item, 0, 1, 0, 1 << 31) for item in range(65_000))
    return _container(
        brand,
        full_box(b"pitm", b"\0\1")
        + full_box(b"iinf", struct.pack(">H", 65_000) + entries)
        + full_box(b"iloc", struct.pack(">HH", 0x4400, 65_000) + places),
    )


def _container(brand: bytes, boxes: bytes) -> bytes:
    return box(b"ftyp", struct.pack(">4sI4s", brand, 0, brand)) + full_box(b"meta", boxes)


def _patch(body: bytes, marker: bytes, form: str, *values: int, after: int = 0) -> bytes:
    """Overwrite the bytes after a marker."""
    patched = bytearray(body)
    struct.pack_into(form, patched, body.index(marker) + len(marker) + after, *values)
    return bytes(patched)


def _vp8x(webp: bytes, side: int) -> bytes:
    """Put the canvas of an extended file around a simple one."""
    size = (side - 1).to_bytes(3, "little")
    chunks = struct.pack("<4sI", b"VP8X", 10) + bytes(4) + size * 2 + webp[12:]
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WEBP") + chunks


def _png_size(png: bytes, side: int) -> bytes:
    header = struct.pack(">II", side, side) + png[24:29]
    return png[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + png[33:]


def _jpeg_size(jpeg: bytes, side: int) -> bytes:
    return _patch(jpeg, b"\xff\xc0", ">HH", side, side, after=3)


def _two_frames() -> bytes:
    """Return a JPEG with a small frame header before the large one."""
    jpeg = saved(np.zeros((8, 8, 3), np.uint8), "JPEG")
    at = jpeg.index(b"\xff\xc0")
    frame = jpeg[at : at + 19]
    return jpeg[:at] + frame + _jpeg_size(frame, 20_000) + jpeg[at + 19 :]


def _larger_tiff() -> bytes:
    target = BytesIO()
    tifffile.imwrite(target, np.zeros((16, 16, 3), np.uint8), photometric="rgb", compression="lzw")
    body = bytearray(target.getvalue())
    (directory,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from("<HH", body, entry)
        if tag in (256, 257):
            struct.pack_into("<H" if kind == 3 else "<I", body, entry + 8, 9000)
    return bytes(body)


def _interlaced(side: int) -> bytes:
    """Return an interlaced PNG with 16 bits and alpha, of zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    passes = ((8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2))  # distances of Adam7
    rows = b"".join(bytes((1 + side // x * 8) * (side // y)) for x, y in passes)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 1)),
            chunk(b"IDAT", zlib.compress(rows, 9)),
            chunk(b"IEND", b""),
        )
    )


def _many_scans(side: int, count: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    jpeg = saved(_gray(side), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * count + jpeg[-2:]


def _heights() -> bytes:
    """Return a JPEG whose height is to be found behind 4 million segments that state none."""
    jpeg = _jpeg_size(saved(scene(), "JPEG"), 0)
    return jpeg[:-2] + b"\xff\xdc\0\2" * 4_000_000 + b"\xff\xd9"


def unused_tables(count: int) -> bytes:
    """Return a JPEG with quantisation tables of a number that no component uses, 1000 a segment."""
    jpeg = saved(scene(), "JPEG")
    tables = (b"\3" + b"\x10" * 64) * 1000
    return jpeg[:2] + (struct.pack(">HH", 0xFFDB, 2 + len(tables)) + tables) * count + jpeg[2:]


def packet(elements: int) -> bytes:
    """Return an XMP packet of empty elements, which turns its image."""
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        b'syntax-ns#"><rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        b'tiff:Orientation="6">' + b"<a/>" * elements + b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def _many_elements() -> bytes:
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet(65_000)
    return with_chunks(saved(scene(), "PNG"), iTXt=text)


def _extents() -> bytes:
    """Return an AVIF whose 10,000 items have 65,535 extents each, of no bytes."""
    kinds = enumerate((b"av01", b"Exif"), 1)
    infos = (full_box(b"infe", struct.pack(">HH4sx", i, 0, it), version=2) for i, it in kinds)
    places = struct.pack(">HHH", 3, 0, 65_535) * 10_000
    boxes = (
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iinf", struct.pack(">H", 2) + b"".join(infos)),
        full_box(b"iloc", struct.pack(">BBH", 0, 0, 10_000) + places),
    )
    return box(b"ftyp", b"avif" + bytes(4) + b"avif") + full_box(b"meta", b"".join(boxes))


def _runs(width: int, height: int, runs: bytes) -> bytes:
    """Return a BMP of run-length coded pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 1, 0)
    palette = bytes(4)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + header + palette + runs


_JXL = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")

HOSTILE_FILES: dict[str, Callable[[], bytes]] = {
    # Profiles with multi-process elements, and with tables of more entries than bytes.
    "elements.jpg": lambda: _picture("JPEG", elements_profile(b"D2B1", 6000)),
    "elements-more.jpg": lambda: _picture("JPEG", elements_profile(b"D2B0", 150_000)),
    "elements.webp": lambda: _picture("WEBP", elements_profile(b"D2B3", 6000)),
    "elements.avif": lambda: _picture("AVIF", elements_profile(b"D2B1", 6000)),
    "elements.png": _png_with_elements,
    "elements-16.tif": _tiff_with_elements,
    "table-8.png": lambda: _png_with_table(b"mft1", 3, 3, 255),
    "table-16.png": lambda: _png_with_table(b"mft2", 3, 15, 200),
    "table-wide.png": lambda: _png_with_table(b"mft2", 15, 15, 3),
    # Strips and tiles that are larger than their image.
    "strip-jpeg.tif": lambda: _one_strip(7, saved(_gray(8000), "JPEG")),
    "strip-png.tif": lambda: _one_strip(34933, saved(_gray(4000), "PNG")),
    "strip-webp.tif": lambda: _one_strip(50001, saved(_gray(4000), "WEBP", lossless=True)),
    "strip-j2k.tif": lambda: _one_strip(34712, imagecodecs.jpeg2k_encode(_gray(2000), level=30)),
    "strip-jxl.tif": lambda: _one_strip(50002, imagecodecs.jpegxl_encode(_gray(2000), effort=1)),
    "strip-deflate.tif": lambda: _one_strip(8, zlib.compress(bytes(200_000_000), 1)),
    "strip-lzma.tif": lambda: _one_strip(34925, lzma.compress(bytes(20_000_000), preset=0)),
    "strip-zstd.tif": lambda: _one_strip(50000, imagecodecs.zstd_encode(bytes(500_000_000))),
    "strip-packbits.tif": lambda: _one_strip(32773, b"\x81\0" * 2_000_000),
    "depth.tif": lambda: _one_strip(8, zlib.compress(bytes(768)), depth=20_000),
    "tile.tif": lambda: _one_strip(8, zlib.compress(bytes(768)), tile=32_768),
    # Parts that cost time however small they are.
    "strips.tif": lambda: _many_pieces(1, 500_000, tiles=False),
    "tiles.tif": lambda: _many_pieces(700, 700, tiles=True),
    "shared.tif": lambda: _many_pieces(1, 60_000, tiles=False, padding=1_000_000),
    "boxes.avif": lambda: _many_boxes(saved(scene(), "AVIF")),
    "boxes.heic": lambda: _many_boxes(heic([scene()])),
    "boxes.jxl": lambda: _JXL + box(b"free", b"") * 2_000_000,
    "properties.avif": lambda: _many_properties(b"avif"),
    "properties.heic": lambda: _many_properties(b"heic"),
    "items.avif": lambda: _many_items(b"avif"),
    "items.heic": lambda: _many_items(b"heic"),
    # Sizes in headers that are not those of the coded image.
    "less.avif": lambda: _patch(saved(_gray(6000), "AVIF"), b"ispe", ">II", 16, 16, after=4),
    "more.avif": lambda: _patch(saved(scene(), "AVIF"), b"ispe", ">II", 8000, 8000, after=4),
    "less.heic": lambda: _patch(heic([scene(1024, 1024)]), b"ispe", ">II", 16, 16, after=4),
    "more.heic": lambda: _patch(heic([scene()]), b"ispe", ">II", 8000, 8000, after=4),
    "less.gif": lambda: _patch(saved(_gray(8000)[..., 0], "GIF"), b"GIF87a", "<HH", 16, 16),
    "more.gif": lambda: _patch(saved(scene()[..., 0], "GIF"), b"GIF87a", "<HH", 9000, 9000),
    "less.webp": lambda: _vp8x(saved(_gray(4000), "WEBP"), 16),
    "more.webp": lambda: _vp8x(saved(scene(), "WEBP"), 9000),
    "less.png": lambda: _png_size(saved(_gray(4000), "PNG"), 16),
    "more.png": lambda: _png_size(saved(scene(), "PNG"), 9000),
    "more.jpg": lambda: _jpeg_size(saved(scene(), "JPEG"), 9000),
    "second-frame.jpg": _two_frames,
    "more.bmp": lambda: _patch(saved(scene(), "BMP"), b"BM", "<ii", 9000, 9000, after=16),
    "more.tif": _larger_tiff,
    "negative.bmp": lambda: _runs(-10_000_000, 4, b"\x01\x00" * 100),
    # Much work for their length.
    "extents.avif": _extents,
    "flat.avif": lambda: saved(_gray(6000), "AVIF"),
    "flat.webp": lambda: saved(_gray(6000), "WEBP", lossless=True),
    "flat.jxl": lambda: bytes(imagecodecs.jpegxl_encode(_gray(4000), effort=1)),
    "interlaced-16.png": lambda: _interlaced(2000),
    "progressive.jpg": lambda: _many_scans(4000, 98),
    "progressive.tif": lambda: _one_strip(7, _many_scans(2000, 300), side=2000),
    "padding.jpg": lambda: b"\xff\xd8" + b"\xff" * 20_000_000,
    "stuffing.jpg": lambda: b"\xff\xd8\xff\x00" + b"\xff\x00" * 10_000_000,
    "heights.jpg": _heights,
    "runs.bmp": lambda: _runs(1, 1, b"\x01\x00" * 5_000_000),
    "tables.jpg": lambda: unused_tables(900),
    "markup.png": _many_elements,
    "texts.png": _damaged_texts,
}


def main(folder: Path) -> None:
    """Write the files to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in HOSTILE_FILES.items():
        (folder / name).write_bytes(make())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
