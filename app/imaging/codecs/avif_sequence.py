"""Animated AVIF, frame by frame: a track of pictures beside the still image.

Boxes: ISO/IEC 14496-12, sections 8.2 (mvhd), 8.3 (tkhd), 8.4 (mdhd), 8.6 (stts, elst). A track
that repeats its edit list is as long as all its plays; without end, its duration is all ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from itertools import chain, repeat

import numpy as np
from PIL import _avif  # Pillow's public function takes the frames as a list, not one by one
from PIL.AvifImagePlugin import AvifImageFile

from app.imaging.codecs.bmff import Box, locate_box, locate_boxes, repair
from app.imaging.codecs.frames import (
    AnimationSettings,
    Clock,
    Frame,
    StoredFrame,
    check_length,
    to_rgba,
)
from app.imaging.exif import remove_orientation
from app.imaging.raster import Animation, FormatError

SPEED = 9  # from 7 on, libaom codes each frame when it comes, and keeps no frames for later
_UNIT = Fraction(1, 1000)  # seconds, in which Pillow takes durations
_ENDLESS = {0: (1 << 32) - 1, 1: (1 << 64) - 1}  # durations of 32 and of 64 bits
_REPEATS = 1  # a flag of an edit list


def read_animation(body: bytes, frames: int) -> Animation:
    """Read the duration and the plays of a sequence of `frames` pictures.

    Raises:
        FormatError, struct.error, IndexError: its track cannot be read.
    """
    track = _picture_track(body)
    scale, runs = _read_times(body, track)
    total, left = 0, frames
    for count, duration in runs:
        total += min(count, left) * duration
        left -= min(count, left)
    return Animation(frames, total / scale, _plays(body, track))


def read(body: bytes) -> Iterator[StoredFrame]:
    """Decode the pictures, one by one, with 8 bits."""
    scale, runs = _read_times(body, _picture_track(body))
    durations = chain.from_iterable(repeat(duration, count) for count, duration in runs)
    image = AvifImageFile(BytesIO(repair(body)))
    for index, duration in zip(range(image.n_frames), durations, strict=False):
        image.seek(index)
        yield StoredFrame(0, 0, to_rgba(np.asarray(image)), Fraction(duration, scale))


def write(frames: Iterator[Frame], settings: AnimationSettings) -> bytes:
    """Encode an animation, lossy, on one thread."""
    encoder, clock = None, Clock(_UNIT, least=1)
    for samples, seconds in frames:
        height, width, channels = samples.shape
        if encoder is None:
            encoder = _create_encoder((width, height), settings)
        mode = "RGBA" if channels == 4 else "RGB"
        encoder.add(samples.tobytes(), clock.round(seconds), (width, height), mode, False)
    body = None if encoder is None else encoder.finish()
    if body is None:
        raise FormatError("the frames cannot be encoded")
    check_length(len(body), settings.max_bytes)
    return _set_plays(body, settings.plays) if settings.plays else bytes(body)


def _create_encoder(size: tuple[int, int], settings: AnimationSettings) -> _avif.AvifEncoder:
    metadata = settings.metadata
    exif = remove_orientation(metadata.exif) or b""
    return _avif.AvifEncoder(
        size, "4:2:0", settings.quality, SPEED, 1, "auto", "full", 0, 0, False, True,
        settings.profile, exif, 1, metadata.xmp or b"", None,
    )  # fmt: skip


def _tracks(body: bytes) -> Iterator[Box]:
    moov = locate_box(body, b"moov")
    return (it for it in locate_boxes(body, moov.start, moov.end) if it.kind == b"trak")


def _picture_track(body: bytes) -> Box:
    """Return the first track of pictures; that of their alpha has another handler."""
    for track in _tracks(body):
        media = locate_box(body, b"mdia", track.start, track.end)
        handler = locate_box(body, b"hdlr", media.start, media.end)
        if body[handler.start + 8 : handler.start + 12] == b"pict":
            return track
    raise FormatError("it has no track of pictures")


def _read_times(body: bytes, track: Box) -> tuple[int, list[tuple[int, int]]]:
    """Return the units in a second, and runs of pictures: (number, units that each is shown).

    Raises:
        FormatError: a box is missing or too short.
    """
    media = locate_box(body, b"mdia", track.start, track.end)
    header = locate_box(body, b"mdhd", media.start, media.end)
    information = locate_box(body, b"minf", media.start, media.end)
    table = locate_box(body, b"stbl", information.start, information.end)
    times = locate_box(body, b"stts", table.start, table.end)
    (scale,) = struct.unpack_from(">I", body, header.start + (20 if body[header.start] else 12))
    if not scale:
        raise FormatError("its time scale is 0")
    return scale, list(struct.iter_unpack(">II", body[times.start + 8 : times.end]))


def _plays(body: bytes, track: Box) -> int:
    """Return how often a track is played; 0 for without end, as browsers do without a list."""
    boxes = locate_boxes(body, track.start, track.end)
    edits = next((it for it in boxes if it.kind == b"edts"), None)
    if edits is None:
        return 0
    listed = locate_box(body, b"elst", edits.start, edits.end)
    if not body[listed.start + 3] & _REPEATS:
        return 1
    once = _play_time(body, listed)
    header = locate_box(body, b"tkhd", track.start, track.end)
    place, layout, version = _duration_field(body, header)
    whole: int = struct.unpack_from(layout, body, place)[0]
    return 0 if not once or whole == _ENDLESS[version] else -(-whole // once)


def _play_time(body: bytes, edits: Box) -> int:
    """Return the duration of the first edit of a list: that of one play."""
    once: int = struct.unpack_from(">Q" if body[edits.start] else ">I", body, edits.start + 8)[0]
    return once


def _set_plays(body: bytes, plays: int) -> bytes:
    """Return a file that is played a number of times; the encoder writes ones without end."""
    edited = bytearray(body)
    moov = locate_box(body, b"moov")
    longest = 0
    for track in _tracks(body):
        edits = locate_box(body, b"edts", track.start, track.end)
        once = _play_time(body, locate_box(body, b"elst", edits.start, edits.end))
        longest = max(longest, plays * once)
        header = locate_box(body, b"tkhd", track.start, track.end)
        place, layout, _ = _duration_field(body, header)
        struct.pack_into(layout, edited, place, plays * once)
    place, layout, _ = _duration_field(body, locate_box(body, b"mvhd", moov.start, moov.end))
    struct.pack_into(layout, edited, place, longest)
    return bytes(edited)


def _duration_field(body: bytes, header: Box) -> tuple[int, str, int]:
    """Return place, layout and version of the duration in mvhd or tkhd."""
    version = min(body[header.start], 1)
    wide = 8 if version else 4
    before = 8 if header.kind == b"tkhd" else 4  # a number and 4 reserved bytes, or a time scale
    return header.start + 4 + 2 * wide + before, ">Q" if version else ">I", version
