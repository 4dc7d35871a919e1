"""The stages of a photograph that compute, each on a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from app.imaging.decode import decode, decode_reduced
from app.imaging.encode import encode
from app.imaging.metadata import filtered
from app.imaging.photo import Photo
from app.imaging.resize import fit
from app.imaging.source import Source
from app.imaging.thumbnail import thumbnail
from app.luts.kernel import Pixels
from app.networks.store import Model
from app.serving.device import Device
from app.serving.look import Enhanced, Look, Wish
from app.serving.lut_file import LutFile, LutWish, write_lut
from app.serving.predictors import Thumbnail
from app.serving.timings import Timings

STRIP = 1 << 20  # pixels that one worker takes of a photograph at a time: some 5 ms


def decoded(source: Source, model: Model, wish: Wish, timings: Timings) -> tuple[Photo, Thumbnail]:
    """A photograph at the size wished for, and the thumbnail of the whole of it."""
    with timings.measure("decode"):
        photo = decode(source)
        recipe = model.card.thumbnail
        small = thumbnail(photo.pixels, recipe.size, recipe.antialias)
        return fit(photo, wish.max_side) if wish.max_side else photo, small


def reduced(source: Source, model: Model, timings: Timings) -> Thumbnail:
    """The thumbnail alone, from the smallest decode that is large enough for it."""
    with timings.measure("decode"):
        recipe = model.card.thumbnail
        return thumbnail(decode_reduced(source, recipe.size).pixels, recipe.size, recipe.antialias)


def finished(
    photo: Photo,
    look: Look,
    wish: Wish,
    timings: Timings,
    device: Device,
    share: Callable[[Callable[[Pixels], None], Sequence[Pixels]], None],
) -> Enhanced:
    """A photograph after its look, which is applied in place, encoded.

    Args:
        photo: changed.
        look: what to make of it.
        wish: how much of the look, and in which format.
        timings: told how long it took.
        device: applies the LUT.
        share: runs a function on each of the parts; see `Workers.share`.
    """
    with timings.measure("apply"):
        lut = look.lut.at_strength(wish.strength)
        share(device.applier(lut, photo.pixels.dtype), strips(photo.pixels, STRIP))
    with timings.measure("encode"):
        output_format = wish.output_format(photo.format)
        photo = replace(photo, metadata=filtered(photo.metadata, wish.metadata))
        return Enhanced(encode(photo, output_format, wish.quality), output_format, look)


def written(look: Look, wish: LutWish, timings: Timings) -> LutFile:
    """The LUT of a look as a file."""
    with timings.measure("encode"):
        return write_lut(look, wish)


def strips(pixels: Pixels, size: int) -> list[Pixels]:
    """Cuts a photograph (H, W, 3) into rows of about `size` pixels; views, not copies."""
    height, width = pixels.shape[:2]
    rows = max(1, size // width)
    return [pixels[top : top + rows] for top in range(0, height, rows)]
