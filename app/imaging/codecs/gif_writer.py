"""Writing of GIF: palettes that frames share where they can, and dithering without flicker.

Where a frame has few colours its palette holds just these. Other frames are dithered in order,
with a pattern that is fixed to the canvas: pixels that do not change look the same in every frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL.GifImagePlugin import getdata

from app.imaging.codecs.frames import (
    AnimationSettings,
    BoundedFile,
    Change,
    Clock,
    Frame,
    find_changes,
)
from app.imaging.raster import EncodeSettings, Samples

_UNIT = Fraction(1, 100)  # of durations, in seconds
_LEAST_DURATION = 2  # of `_UNIT`: players take 1 for 10
_COLOURS = 255  # of a palette; the last entry is transparent
_OPAQUE = 128  # the least alpha that is
_WORSE = 1.25  # by which the error of a shared palette may exceed that of the frame's own
_SAMPLES = 4096  # pixels by which palettes are compared
_BAYER = np.array(
    [[0, 32, 8, 40, 2, 34, 10, 42], [48, 16, 56, 24, 50, 18, 58, 26],
     [12, 44, 4, 36, 14, 46, 6, 38], [60, 28, 52, 20, 62, 30, 54, 22],
     [3, 35, 11, 43, 1, 33, 9, 41], [51, 19, 59, 27, 49, 17, 57, 25],
     [15, 47, 7, 39, 13, 45, 5, 37], [63, 31, 55, 23, 61, 29, 53, 21]],
    np.float32,
)  # fmt: skip
_AMPLITUDE = 2.0  # of the pattern, by the error of the palette: about the distance of neighbours
_KEEP, _CLEAR = 1, 2  # disposals
_NO_LIMIT = 1 << 62  # bytes; a still image is limited by its pixels


def write(frames: Iterator[Frame], settings: AnimationSettings) -> bytes:
    """Encode an animation; the metadata and the profile are left out.

    Opaque frames hold their changes. Others are cleared before the next one is drawn, since a GIF
    cannot make opaque pixels transparent otherwise.
    """
    output, palettes, clock = (
        BoundedFile(settings.max_bytes),
        _Palettes(),
        Clock(_UNIT, _LEAST_DURATION),
    )
    first = next(frames)
    height, width, channels = first.samples.shape
    frames = chain((first,), frames)
    changes = find_changes(frames) if channels == 3 else map(_crop_to_visible, frames)
    for left, top, samples, seconds in changes:
        image, shared = palettes.quantise(samples, left, top)
        if not output.tell():
            output.write(_header(width, height, palettes.first, settings.plays))
        options = {"duration": 10 * clock.round(seconds), "include_color_table": not shared}
        if channels == 4:
            options |= {"transparency": _COLOURS, "disposal": _CLEAR}
        elif settings.frames > 1:
            options["disposal"] = _KEEP
        output.write(b"".join(getdata(image, (left, top), **options)))
    output.write(b";")
    return output.getvalue()


def encode(samples: Samples, settings: EncodeSettings) -> bytes:
    """Encode (H, W, 3 | 4) as the only frame."""
    frame = Frame(samples, Fraction(0))
    return write(
        iter((frame,)),
        AnimationSettings(settings.quality, settings.metadata, settings.profile, 1, 1, _NO_LIMIT),
    )


def _header(width: int, height: int, palette: bytes, plays: int) -> bytes:
    header = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + palette
    if plays == 1:
        return header
    loops = min(max(plays - 1, 0), 65535)  # 0 is without end
    return header + b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", loops, 0)


def _crop_to_visible(frame: Frame) -> Change:
    """Cut off the transparent margins of a frame."""
    samples, seconds = frame
    opaque = samples[..., 3] >= _OPAQUE
    rows, columns = np.nonzero(opaque.any(axis=1))[0], np.nonzero(opaque.any(axis=0))[0]
    top, left = (int(rows[0]), int(columns[0])) if rows.size else (0, 0)
    bottom, right = (int(rows[-1]) + 1, int(columns[-1]) + 1) if rows.size else (1, 1)
    return Change(left, top, samples[top:bottom, left:right], seconds)


class _Palettes:
    """The palettes of an animation.

    Attributes:
        first: of the first frame, which further frames may share: 256 colours.
    """

    def __init__(self) -> None:
        self.first = b""
        self._current = np.zeros((1, 3), np.uint8)  # of frames in which nothing is visible
        self._amplitude = 0.0  # of dithering, in levels

    def quantise(self, samples: Samples, left: int, top: int) -> tuple[PilImage.Image, bool]:
        """Reduce pixels to a palette of their own, or to that of a frame before.

        Args:
            samples: (H, W, 3 | 4); pixels that are not opaque get the last index.
            left: of the canvas, to which the pattern of dithering is fixed.
            top: of the canvas.

        Returns:
            The image, and whether its palette is that of the first frame.
        """
        pixels = np.ascontiguousarray(samples[..., :3], np.uint8)
        visible = pixels[samples[..., 3] >= _OPAQUE] if samples.shape[2] == 4 else pixels
        visible = visible.reshape(-1, 3)
        indices = self._map_exactly(pixels, np.unique(_pack(visible)))
        if indices is None:
            self._choose(visible)
            offsets = self._amplitude * _pattern(pixels, left, top)
            indices = _nearest(_shift(pixels, offsets), self._current)
        if samples.shape[2] == 4:
            indices[samples[..., 3] < _OPAQUE] = _COLOURS
        palette = self._current.tobytes().ljust(768, b"\0")
        self.first = self.first or palette
        image = PilImage.fromarray(indices)
        image.putpalette(palette)
        return image, palette == self.first

    def _map_exactly(
        self, pixels: NDArray[np.uint8], colours: NDArray[np.uint32]
    ) -> NDArray[np.uint8] | None:
        """Return the index of each pixel if a palette can hold all visible colours, or None."""
        if not np.isin(colours, _pack(self._current)).all():
            if len(colours) > _COLOURS:
                return None
            self._current = _unpack(colours)
        known = _pack(self._current)
        order = np.argsort(known)
        places = np.searchsorted(known, _pack(pixels), sorter=order)
        indices: NDArray[np.uint8] = order.astype(np.uint8)[np.minimum(places, len(known) - 1)]
        return indices

    def _choose(self, pixels: NDArray[np.uint8]) -> None:
        """Take the best palette, unless the current one serves these pixels nearly as well."""
        sampled = np.ascontiguousarray(pixels[:: -(-len(pixels) // _SAMPLES)])[np.newaxis]
        image = PilImage.fromarray(sampled)
        own = _palette_of(image.quantize(_COLOURS, dither=PilImage.Dither.NONE))
        error = _error(sampled, own)
        if _error(sampled, self._current) > _WORSE * error:
            self._current, self._amplitude = own, _AMPLITUDE * error


def _palette_of(image: PilImage.Image) -> NDArray[np.uint8]:
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    return colours[:_COLOURS]


def _error(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> float:
    """Return the root mean square of the distances to the nearest colours of a palette."""
    nearest = palette[_nearest(pixels, palette)]
    return float(np.sqrt(np.mean((nearest.astype(np.float32) - pixels) ** 2)))


def _nearest(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    holder = PilImage.new("P", (1, 1))
    holder.putpalette(palette.tobytes())
    image = PilImage.fromarray(pixels).quantize(palette=holder, dither=PilImage.Dither.NONE)
    indices: NDArray[np.uint8] = np.minimum(np.array(image), len(palette) - 1).astype(np.uint8)
    return indices


def _pattern(pixels: NDArray[np.uint8], left: int, top: int) -> NDArray[np.float64]:
    """Return the thresholds (H, W, 1) of ordered dithering, from -0.5 to 0.5."""
    rows = (np.arange(pixels.shape[0]) + top) % 8
    columns = (np.arange(pixels.shape[1]) + left) % 8
    return (_BAYER[np.ix_(rows, columns)][..., np.newaxis] - 31.5) / 64


def _shift(pixels: NDArray[np.uint8], offsets: NDArray[np.float64]) -> NDArray[np.uint8]:
    shifted: NDArray[np.uint8] = np.clip(np.rint(pixels + offsets), 0, 255).astype(np.uint8)
    return shifted


def _pack(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
    packed: NDArray[np.uint32] = red << 16 | green << 8 | blue
    return packed


def _unpack(packed: NDArray[np.uint32]) -> NDArray[np.uint8]:
    return np.stack((packed >> 16, packed >> 8 & 255, packed & 255), axis=-1).astype(np.uint8)
