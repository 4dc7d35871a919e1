"""The stages of a photograph that compute, each on a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from app.imaging.decode import decode, decode_reduced
from app.imaging.encode import encode
from app.imaging.metadata import filter_metadata
from app.imaging.probe import EncodedImage
from app.imaging.resize import fit, make_thumbnail
from app.imaging.types import Image
from app.luts.apply import Pixels
from app.luts.export import LutOptions
from app.networks.store import Model
from app.serving.device import Device
from app.serving.lut_export import LutFile, export_lut
from app.serving.model_runners import Thumbnail
from app.serving.options import EnhancedImage, EnhanceOptions, Look
from app.serving.timings import Timings

STRIP = 1 << 20  # pixels that one worker takes of a photograph at a time: some 5 ms


def decode_image(
    source: EncodedImage, model: Model, options: EnhanceOptions, timings: Timings
) -> tuple[Image, Thumbnail]:
    """A photograph at the size wished for, and the thumbnail of the whole of it."""
    with timings.measure("decode"):
        photo = decode(source)
        recipe = model.card.thumbnail
        small = make_thumbnail(photo.pixels, recipe.size, recipe.antialias)
        return fit(photo, options.max_side) if options.max_side else photo, small


def decode_thumbnail(source: EncodedImage, model: Model, timings: Timings) -> Thumbnail:
    """The thumbnail alone, from the smallest decode that is large enough for it."""
    with timings.measure("decode"):
        recipe = model.card.thumbnail
        return make_thumbnail(
            decode_reduced(source, recipe.size).pixels, recipe.size, recipe.antialias
        )


def apply_and_encode(
    photo: Image,
    look: Look,
    options: EnhanceOptions,
    timings: Timings,
    device: Device,
    share: Callable[[Callable[[Pixels], None], Sequence[Pixels]], None],
) -> EnhancedImage:
    """A photograph after its look, which is applied in place, encoded.

    Args:
        photo: changed.
        look: what to make of it.
        options: how much of the look, and in which format.
        timings: told how long it took.
        device: applies the LUT.
        share: runs a function on each of the parts; see `PriorityThreadPool.share`.
    """
    with timings.measure("apply"):
        lut = look.lut.at_strength(options.strength)
        share(device.applier(lut, photo.pixels.dtype), strips(photo.pixels, STRIP))
    with timings.measure("encode"):
        output_format = options.output_format(photo.format)
        photo = replace(photo, metadata=filter_metadata(photo.metadata, options.metadata))
        return EnhancedImage(encode(photo, output_format, options.quality), output_format, look)


def write_lut_file(look: Look, options: LutOptions, timings: Timings) -> LutFile:
    """The LUT of a look as a file."""
    with timings.measure("encode"):
        return export_lut(look, options)


def strips(pixels: Pixels, size: int) -> list[Pixels]:
    """Cuts a photograph (H, W, 3) into rows of about `size` pixels; views, not copies."""
    height, width = pixels.shape[:2]
    rows = max(1, size // width)
    return [pixels[top : top + rows] for top in range(0, height, rows)]
