"""GIF: the blocks are parsed here, the pixels are decoded by Pillow.

GIF89a specification: CompuServe, "Graphics Interchange Format, Version 89a", 1990.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.GifImagePlugin import GifImageFile

from app.imaging.codecs.base import AnimationCodec, ImageCodec, MapColours
from app.imaging.codecs.frames import Rgba, StoredFrame, compose
from app.imaging.codecs.gif_writer import encode, write
from app.imaging.raster import Animation, FormatError, Header, Raster, to_raster

UNIT = Fraction(1, 100)  # of durations, in seconds
_MAX_FRAMES = 100_000  # that are counted
_MAX_HIDDEN_PIXELS = 1 << 20  # of a frame, outside the canvas
_SCREEN_END = 13
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_CONTROL, _COMMENT, _APPLICATION = 0xF9, 0xFE, 0xFF
_HAS_PALETTE, _INTERLACED = 0x80, 0x40
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_DISPOSALS: dict[int, Literal["clear", "restore"]] = {2: "clear", 3: "restore", 4: "restore"}
_GRAYS = bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))


@dataclass(frozen=True)
class _Block:
    """A block, and where in the file it lies.

    Attributes:
        kind: `_IMAGE`, or the label of an extension.
        start: of the block.
        data: of the part behind the fixed fields.
        end: of the block.
    """

    kind: int
    start: int
    data: int
    end: int


@dataclass(frozen=True)
class _StoredImage:
    """The descriptor of an image, and the extension before it that controls it."""

    body: bytes
    block: _Block
    control: bytes

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Left, top, width and height."""
        left, top, width, height = struct.unpack_from("<4H", self.body, self.block.start + 1)
        return left, top, width, height

    @property
    def flags(self) -> int:
        return self.body[self.block.start + 9]

    @property
    def seconds(self) -> Fraction:
        return int.from_bytes(self.control[1:3], "little") * UNIT

    @property
    def disposal(self) -> Literal["keep", "clear", "restore"]:
        return _DISPOSALS.get(self.control[0] >> 2 & 7, "keep")

    @property
    def transparent(self) -> int | None:
        """The index of the transparent colour."""
        return self.control[3] if self.control[0] & 1 else None

    @property
    def palette(self) -> tuple[int, int] | None:
        """Where its own palette lies, or that of all images; None for neither."""
        return _palette_at(self.flags, self.block.start + 10) or _global_palette(self.body)


def _palette_at(flags: int, start: int) -> tuple[int, int] | None:
    return (start, start + (6 << (flags & 7))) if flags & _HAS_PALETTE else None


def _global_palette(body: bytes) -> tuple[int, int] | None:
    return _palette_at(body[10], _SCREEN_END)


def _blocks(body: bytes) -> Iterator[_Block]:
    """Yield the blocks up to the trailer or the end; bytes between them are passed over."""
    palette = _global_palette(body)
    position = palette[1] if palette else _SCREEN_END
    while position + 1 < len(body) and body[position] != _TRAILER:
        start, kind = position, body[position]
        if kind == _EXTENSION:
            kind, data = body[start + 1], start + 2
        elif kind == _IMAGE and start + 10 < len(body):
            own = _palette_at(body[start + 9], start + 10)
            data = (own[1] if own else start + 10) + 1  # after the size of a code
        else:
            position += 1
            continue
        position = _skip_data(body, data)
        yield _Block(kind, start, data, position)


def _skip_data(body: bytes, position: int) -> int:
    """Return where a chain of blocks with their lengths ends."""
    while position < len(body) and body[position]:
        position += 1 + body[position]
    return min(position + 1, len(body))


def _images(body: bytes) -> Iterator[_StoredImage]:
    control = bytes(4)
    for count, block in enumerate(_blocks(body)):
        if count > _MAX_FRAMES:
            raise FormatError(f"it has more than {_MAX_FRAMES} blocks")
        if block.kind == _CONTROL:
            control = body[block.data + 1 : block.data + 5].ljust(4, b"\0")
        elif block.kind == _IMAGE:
            yield _StoredImage(body, block, control)
            control = bytes(4)


def _plays(body: bytes) -> int:
    for block in _blocks(body):
        if block.kind == _IMAGE:
            break
        if block.kind == _APPLICATION and body[block.data + 1 : block.data + 12] in _LOOPS:
            length, kind, loops = struct.unpack_from("<BBH", body, block.data + 12)
            if length >= 3 and kind == 1:
                return loops + 1 if loops else 0
    return 1


def _canvas(body: bytes) -> tuple[int, int]:
    """Return width and height of the screen; it grows to hold the first frame, as in browsers."""
    width, height = struct.unpack_from("<HH", body, 6)
    first = next(_images(body), None)
    if first is None:
        raise FormatError("it has no image")
    left, top, columns, rows = first.place
    return max(width, left + columns), max(height, top + rows)


def read_header(body: bytes) -> Header:
    """Read the logical screen, and count the frames."""
    if len(body) < _SCREEN_END:
        raise FormatError("it is cut short")
    width, height = _canvas(body)
    frames, hundredths = 0, Fraction(0)
    for image in _images(body):
        frames += 1
        hundredths += image.seconds
    animation = Animation(frames, float(hundredths), _plays(body)) if frames > 1 else None
    return Header(width=width, height=height, channels=4, animation=animation)


def decode(body: bytes) -> Raster:
    """Decode the first frame; pixels that it does not cover are transparent."""
    canvas, _ = next(compose(read(body), *_canvas(body)))
    return to_raster(canvas if canvas[..., 3].min() < 255 else canvas[..., :3])


def read(body: bytes) -> Iterator[StoredFrame]:
    """Decode the frames; pixels outside the canvas are cut off.

    Raises:
        FormatError: nearly all of a frame lies there.
    """
    width, height = _canvas(body)
    for image in _images(body):
        left, top, columns, rows = image.place
        if columns * rows > width * height + _MAX_HIDDEN_PIXELS:
            raise FormatError("a frame is larger than its canvas")
        left, top = min(left, width), min(top, height)
        pixels = _decode_image(image)[: height - top, : width - left]
        yield StoredFrame(left, top, pixels, image.seconds, over=True, disposal=image.disposal)


def _decode_image(image: _StoredImage) -> Rgba:
    """Decode one image: it becomes a file of its own, which Pillow reads."""
    _, _, width, height = image.place
    palette = _GRAYS if image.palette is None else image.body[slice(*image.palette)]
    if not width * height:
        return np.zeros((height, width, 4), np.uint8)
    data = image.body[image.block.data - 1 : image.block.end]
    size = struct.pack("<HH", width, height)
    file = GifImageFile(
        BytesIO(
            b"GIF89a" + size + bytes((_HAS_PALETTE | 7, 0, 0)) + _GRAYS  # which Pillow takes for L
            + bytes((_IMAGE, 0, 0, 0, 0)) + size + bytes((image.flags & _INTERLACED,)) + data + b";"
        )
    )  # fmt: skip
    colours = np.zeros((256, 4), np.uint8)
    colours[: len(palette) // 3, :3] = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    colours[:, 3] = 255
    if image.transparent is not None:
        colours[image.transparent, 3] = 0
    decoded: Rgba = colours[np.asarray(file)]
    return decoded


def map_palettes(body: bytes, map_colours: MapColours, keep_texts: bool) -> bytes | None:
    """Replace the colours of all palettes; see `AnimationCodec`."""
    images = list(_images(body))
    found = {_global_palette(body), *(image.palette for image in images)}
    if any(image.palette is None for image in images):
        return None
    mapped = bytearray(body)
    for start, end in filter(None, found):
        colours: NDArray[np.uint8] = np.frombuffer(body[start:end], np.uint8).reshape(1, -1, 3)
        mapped[start:end] = map_colours(colours.copy()).tobytes()
    if keep_texts:
        return bytes(mapped)
    parts, position = [], 0
    for block in _blocks(body):
        texts = block.kind == _APPLICATION and body[block.data + 1 : block.data + 12] not in _LOOPS
        if texts or block.kind == _COMMENT:
            parts.append(mapped[position : block.start])
            position = block.end
    return b"".join((*parts, mapped[position:]))


CODEC = ImageCodec(
    name="gif",
    media_type="image/gif",
    suffixes=(".gif",),
    matches=lambda head: head.startswith((b"GIF87a", b"GIF89a")),
    read_header=read_header,
    decode=decode,
    animation=AnimationCodec(read=read, write=write, map_palettes=map_palettes),
    encode=encode,
    max_side=65_535,
    cost=9,  # never chosen where another format is accepted
)
