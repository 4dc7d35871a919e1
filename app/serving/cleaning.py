"""Cleaning of images before their colours are changed: what was measured decides how strongly."""

from __future__ import annotations

from app.errors import BadParameter
from app.imaging.probe import EncodedImage
from app.imaging.types import Image
from app.restoration.apply import clean
from app.restoration.damage import Damage, estimate_noise
from app.restoration.methods.cleaner import Cleaner
from app.restoration.store import Restorers
from app.serving.enlargement import MapRows, reduction
from app.serving.options import AUTO, OFF, EnhanceOptions
from app.serving.results import Cleaning

# What `auto` leaves alone. Above this quality artefacts are invisible; fine texture all over a
# photograph measured up to 4.2 levels of noise without having any.
CLEAN_QUALITY = 92.0
CLEAN_NOISE = 4.5
_FORCED_QUALITY = 70.0  # that a strength given as a number assumes at most


def find_cleaner(restorers: Restorers, options: EnhanceOptions) -> Cleaner | None:
    """Return the model that cleans, or None where that is not asked for.

    Raises:
        BadParameter: none is installed.
    """
    if options.restore == OFF:
        return None
    if restorers.cleaner is None:
        detail = (
            f"restore={options.restore} needs a restoration model that cleans; none is installed."
        )
        raise BadParameter(detail)
    return restorers.cleaner.model


def clean_image(
    image: Image,
    source: EncodedImage,
    cleaner: Cleaner,
    options: EnhanceOptions,
    map_rows: MapRows,
) -> Cleaning:
    """Clean an image in place, where it needs it or a strength is given.

    The quality of a JPEG does not count where `max_side` reduces it: its blocks are gone.

    Args:
        image: changed.
        source: the file that the image was decoded from.
        cleaner: the model.
        options: hold the strength.
        map_rows: runs a function on each range of rows.
    """
    quality = source.header.quality if reduction(source, options) == 1 else None
    damage = Damage(quality, estimate_noise(image.pixels))
    if options.restore == AUTO:
        strength, treated = 1.0, certain_damage(damage)
    else:
        strength = float(options.restore)
        treated = damage._replace(quality=min(quality or _FORCED_QUALITY, _FORCED_QUALITY))
    model = cleaner.for_damage(treated) if strength else None
    if model is None:
        return Cleaning(damage, 0.0)
    clean(image.pixels, model, strength, map_rows)
    return Cleaning(damage, strength)


def certain_damage(damage: Damage) -> Damage:
    """Return what of a damage is certain and visible, which `auto` treats."""
    quality, noise = damage
    compressed = quality is not None and quality < CLEAN_QUALITY
    return Damage(quality if compressed else None, noise if noise >= CLEAN_NOISE else 0.0)
