"""The stages of a request that compute; each blocks, so it runs on a thread of the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from app.imaging.codecs import ImageFormat
from app.imaging.decode import prepare, prepare_thumbnail
from app.imaging.encode import encode
from app.imaging.metadata import filter_metadata
from app.imaging.probe import EncodedImage
from app.imaging.types import Image
from app.luts.apply import Pixels
from app.networks.base import ThumbnailRecipe
from app.serving.device import Device
from app.serving.model_runners import Thumbnail
from app.serving.options import EnhanceOptions
from app.serving.results import Look

STRIP = 1 << 20  # pixels that one thread processes at a time: about 5 ms


def decode_image(
    source: EncodedImage, recipe: ThumbnailRecipe, options: EnhanceOptions
) -> tuple[Image, Thumbnail]:
    """Decode an image, make the thumbnail of all of it, and reduce it to the size asked for."""
    return prepare(source, recipe.size, recipe.antialias, options.max_side)


def decode_thumbnail(source: EncodedImage, recipe: ThumbnailRecipe) -> Thumbnail:
    """Make the thumbnail alone, from the smallest decode that is large enough for it."""
    return prepare_thumbnail(source, recipe.size, recipe.antialias)


def apply_look(
    image: Image,
    look: Look,
    options: EnhanceOptions,
    device: Device,
    parallel_map: Callable[[Callable[[Pixels], None], Sequence[Pixels]], None],
) -> None:
    """Apply a look to an image, in place.

    Args:
        image: changed.
        look: its LUT is applied.
        options: hold the strength.
        device: applies the LUT.
        parallel_map: runs a function on each part; see `PriorityThreadPool.parallel_map`.
    """
    lut = look.lut.at_strength(options.strength)
    parallel_map(device.applier(lut, image.pixels.dtype), split_strips(image.pixels, STRIP))


def encode_image(image: Image, image_format: ImageFormat, options: EnhanceOptions) -> bytes:
    """Encode an image in a format, with the metadata that the options keep."""
    metadata = filter_metadata(image.metadata, options.metadata)
    return encode(replace(image, metadata=metadata), image_format, options.quality)


def split_strips(pixels: Pixels, size: int) -> list[Pixels]:
    """Cut pixels (H, W, 3) into strips of rows with about `size` pixels; views, not copies."""
    height, width = pixels.shape[:2]
    rows = max(1, size // width)
    return [pixels[top : top + rows] for top in range(0, height, rows)]
