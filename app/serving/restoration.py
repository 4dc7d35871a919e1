"""Restoration of images: cleaned before their colours are changed, enlarged afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

import numpy as np

from app.errors import BadParameter, ResultTooLarge
from app.imaging.codecs import ImageFormat
from app.imaging.probe import EncodedImage
from app.imaging.raster import Image
from app.imaging.resize import fit, resize_plane
from app.policies import Limits
from app.restoration.apply import clean, upscale
from app.restoration.cleaning import Cleaners, Damage, certain_damage, measure_bands
from app.restoration.lerf import output_side
from app.restoration.store import Restorer, Restorers, Upscaler
from app.serving.options import AUTO, OFF, EnhanceOptions
from app.serving.results import Cleaning

Rows: TypeAlias = tuple[int, int]
MapRows: TypeAlias = Callable[[Callable[[Rows], None], Sequence[Rows]], None]

_FORCED_QUALITY = 70.0  # that a strength given as a number assumes at most
_HELD_BYTES = (4, 8)  # of a pixel with alpha, of images with 8 and with 16 bits


def find_cleaners(restorers: Restorers, options: EnhanceOptions) -> Cleaners | None:
    """Return the models that clean, or None where nothing is to be cleaned.

    Raises:
        BadParameter: `restore` requires them, and none is installed.
    """
    if options.cleaning == OFF:
        return None
    if not any(restorers.cleaners):
        if options.restore is None:
            return None
        detail = (
            f"restore={options.restore} needs a restoration model that cleans; none is installed."
        )
        raise BadParameter(detail)
    return restorers.cleaners


def clean_image(
    image: Image,
    source: EncodedImage,
    cleaners: Cleaners,
    options: EnhanceOptions,
    map_rows: MapRows,
) -> Cleaning:
    """Clean an image in place, where it needs it or a strength is given.

    The quality of a JPEG does not count where `max_side` reduces it: its blocks are gone.

    Args:
        image: changed.
        source: the file that the image was decoded from.
        cleaners: the models.
        options: hold the strength.
        map_rows: runs a function on each range of rows.
    """
    quality = source.header.quality if reduction(source, options) == 1 else None
    bands = measure_bands(image.pixels)
    damage = Damage(quality, bands.noise)
    if options.cleaning == AUTO:
        strength, treated = 1.0, certain_damage(quality, bands)
    else:
        strength = float(options.cleaning)
        treated = damage._replace(quality=min(quality or _FORCED_QUALITY, _FORCED_QUALITY))
    chosen = cleaners.for_damage(treated) if strength else []
    for planes, model in chosen:
        clean(image.pixels, planes, model, strength, map_rows)
    return Cleaning(damage, strength if chosen else 0.0)


@dataclass(frozen=True, eq=False)
class Enlargement:
    """A factor, and the models that make it.

    Attributes:
        factor: of each side.
        models: applied one after the other; none for the factor 1.
    """

    factor: float
    models: tuple[Restorer[Upscaler], ...] = ()

    @property
    def computed(self) -> float:
        """The factor of the models; the result is reduced to `factor`."""
        return math.prod(model.card.scale or self.factor for model in self.models)

    def run(self, image: Image, map_rows: MapRows) -> Image:
        """Enlarge an image; alpha is interpolated by Lanczos."""
        height, width = image.pixels.shape[:2]
        pixels = image.pixels
        for restorer in self.models:
            scale = restorer.card.scale or self.factor
            pixels = upscale(pixels, restorer.model, scale, map_rows)
        rows, columns = pixels.shape[:2]
        alpha = None if image.alpha is None else resize_plane(image.alpha, (columns, rows))
        enlarged = replace(image, pixels=pixels, alpha=alpha)
        return fit(enlarged, output_side(max(height, width), self.factor))


def plan_enlargement(restorers: Restorers, factor: float) -> Enlargement:
    """Choose the models for a factor.

    For a whole factor, a model of just that scale is preferred; for a fraction, one for any scale.
    Next is the shortest chain of models that exceeds the factor the least; its result is reduced.

    Raises:
        BadParameter: no chain of models is large enough.
    """
    if factor == 1:
        return Enlargement(factor)
    any_scale = restorers.find(None)
    if found := restorers.find(int(factor)) if factor == int(factor) else any_scale:
        return Enlargement(factor, (found,))
    single = [model for scale in (2, 3, 4) if (model := restorers.find(scale))]
    chains = [chain for count in (1, 2) for chain in product(single, repeat=count)]
    plans = [Enlargement(factor, chain) for chain in chains]
    enough = [plan for plan in plans if plan.computed >= factor]
    if not enough and any_scale is not None:
        return Enlargement(factor, (any_scale,))
    if not enough:
        raise BadParameter(f"upscale={factor:g} needs a restoration model, and none is installed.")
    return min(enough, key=lambda plan: (plan.computed, len(plan.models)))


@dataclass(frozen=True)
class OutputLimits:
    """The limits of a result.

    Attributes:
        image: the limits of one image.
        memory_bytes: of a request.
    """

    image: Limits
    memory_bytes: int


def output_memory(
    source: EncodedImage,
    options: EnhanceOptions,
    image_format: ImageFormat,
    enlargement: Enlargement,
) -> int:
    """Return the most bytes of memory that reducing, enlarging and encoding take.

    Args:
        source: the image.
        options: hold the size of the result before it is enlarged.
        image_format: of the result.
        enlargement: how it is enlarged.
    """
    deep = source.header.bits > 8
    pixels = source.pixels * reduction(source, options) ** 2
    wanted = pixels * enlargement.factor**2
    encoding = wanted * image_format.codec.encode_bytes[deep]
    # The enlarged image exists beside what it is made of, then beside what it is reduced to.
    computed = pixels * enlargement.computed**2
    enlarging = (computed + max(pixels, wanted)) * _HELD_BYTES[deep]
    return math.ceil(max(encoding, enlarging) if enlargement.models else encoding)


def reduction(source: EncodedImage, options: EnhanceOptions) -> float:
    """Return the factor by which `max_side` reduces an image."""
    longer = max(source.width, source.height)
    return min(1.0, (options.max_side or longer) / longer)


def check_output(
    source: EncodedImage,
    options: EnhanceOptions,
    image_format: ImageFormat,
    restorers: Restorers,
    limits: OutputLimits,
) -> Enlargement:
    """Plan the enlargement of an image, before anything is computed.

    Raises:
        ResultTooLarge: the result would be too large; it holds the largest factor that is accepted.
        BadParameter: see `plan_enlargement`.
    """
    longer = max(source.width, source.height) * reduction(source, options)
    pixels = source.pixels * reduction(source, options) ** 2
    most_side = image_format.codec.max_side or math.inf

    def fits(enlargement: Enlargement) -> bool:
        return (
            pixels * enlargement.factor**2 <= limits.image.max_pixels
            and output_side(math.ceil(longer), enlargement.factor) <= most_side
            and output_memory(source, options, image_format, enlargement) <= limits.memory_bytes
        )

    enlargement = plan_enlargement(restorers, options.upscale)
    if options.upscale == 1 or fits(enlargement):
        return enlargement
    smaller = np.arange(int(options.upscale * 100), 99, -1) / 100
    plans = (plan_enlargement(restorers, float(factor)) for factor in smaller)
    largest = next((it.factor for it in plans if fits(it)), 1.0)
    raise ResultTooLarge(
        f"upscale={options.upscale:g} makes {math.ceil(pixels * options.upscale**2)} pixels; "
        f"at most upscale={largest:g} is accepted for this image.",
        max_upscale=largest,
        max_pixels=limits.image.max_pixels,
    )
