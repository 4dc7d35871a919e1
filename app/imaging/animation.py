"""Animations: decoded, changed and encoded frame by frame, in one process of the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.errors import BadParameter, DamagedImage, TooManyFrames
from app.imaging.codecs import ImageFormat
from app.imaging.codecs.base import AnimationCodec
from app.imaging.codecs.frames import AnimationSettings, Frame, Rgba, check_length, compose
from app.imaging.colour import srgb_profile
from app.imaging.decode import check_thumbnail, to_image
from app.imaging.metadata import MetadataPolicy, filter_metadata, reset_orientation
from app.imaging.probe import EncodedImage, decode_errors, pixels_by_length
from app.imaging.raster import Animation, Image, Metadata, Raster, Samples
from app.imaging.resize import fit, make_thumbnail
from app.policies import Limits

_SMALL = 32  # pixels on a side of the thumbnails by which frames are compared


class ColourFilter(Protocol):
    """Changes the colours of pixels (H, W, 3) uint8, in place."""

    def apply(self, pixels: Samples, /) -> None:
        """Change them."""


class Unchanged:
    """Leaves the colours alone."""

    def apply(self, _: Samples, /) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class AnimationPlan:
    """How an animation is written.

    Attributes:
        format: of the result; one that holds animations.
        quality: 1..100, or None for the default of the format.
        max_side: pixels on the longer side, or None for those of the source.
        metadata: which metadata are kept.
        opaque: whether no pixel of any frame is transparent, as `find_representative` returns it.
    """

    format: ImageFormat
    quality: int | None
    max_side: int | None
    metadata: MetadataPolicy
    opaque: bool


@dataclass(frozen=True, eq=False)
class Representative:
    """The frame that stands for an animation.

    Attributes:
        thumbnail: float32 (3, S, S) in 0..1.
        opaque: whether no pixel of any frame is transparent.
    """

    thumbnail: NDArray[np.float32]
    opaque: bool


def check_animation(source: EncodedImage, limits: Limits) -> None:
    """Reject an animation that is too long, before any of it is decoded.

    Raises:
        TooManyFrames: the message names the limit.
    """
    animation = _animation_of(source)
    length, by_length = len(source.body), pixels_by_length(source, limits)
    for what, size, most in (
        ("frames", animation.frames, limits.max_frames),
        ("pixels in all frames", source.all_pixels, limits.max_animation_pixels),
        (f"pixels in all frames and {length} bytes", source.all_pixels, by_length),
        ("seconds", animation.seconds, limits.max_animation_seconds),
    ):
        if size > most:
            raise TooManyFrames(
                f"The {source.format.name} has {size:.15g} {what}; {most:.15g} are accepted. "
                "first=true enhances its first frame.",
                max_frames=limits.max_frames,
                max_animation_pixels=limits.max_animation_pixels,
                max_animation_seconds=limits.max_animation_seconds,
            )


def find_representative(source: EncodedImage, size: int, antialias: bool) -> Representative:
    """Make the thumbnail of the frame that is nearest to the median of all frames.

    The frames are decoded twice: the median is known after the last one.

    Raises:
        DamagedImage: a frame cannot be decoded.
    """
    found = source.run(_find_representative, size, antialias)
    check_thumbnail(found.thumbnail, size)
    return found


def convert_animation(
    source: EncodedImage, prepare: Callable[[], ColourFilter], plan: AnimationPlan
) -> bytes:
    """Change the colours of every frame, and encode them.

    Where the frames of a GIF stay a GIF of that size, the colours of its palettes are changed, and
    nothing else: no frame is quantised again.

    Args:
        source: the animation.
        prepare: makes the filter of colours, in the process of the sandbox.
        plan: how the result is written.

    Raises:
        DamagedImage: a frame cannot be decoded.
        ResultTooLarge: the result is longer than `source.max_result_bytes`.
        BadParameter: the format holds no such size.
    """
    longer, most = max(source.width, source.height), plan.format.codec.max_side
    if most is not None and min(longer, plan.max_side or longer) > most:
        raise BadParameter(f"{plan.format.name} has at most {most} pixels on a side.")
    return source.run(_convert, prepare, plan)


def _find_representative(source: EncodedImage, size: int, antialias: bool) -> Representative:
    small, opaque = [], True
    for canvas, _ in _canvases(source):
        small.append(_reduce(canvas))
        opaque = opaque and bool(canvas[..., 3].min() == 255)
    median = np.median(np.stack(small), axis=0)
    chosen = int(np.argmin([np.abs(frame - median).mean() for frame in small]))
    canvas = next(canvas for index, (canvas, _) in enumerate(_canvases(source)) if index == chosen)
    return Representative(make_thumbnail(_show(source, canvas).pixels, size, antialias), opaque)


def _reduce(canvas: Rgba) -> NDArray[np.uint8]:
    """Reduce the stored colours of a frame to a square of `_SMALL` pixels, whatever its alpha."""
    height, width, _ = canvas.shape
    image = PilImage.frombuffer("RGBX", (width, height), canvas, "raw", "RGBX", 0, 1)  # no copy
    small = image.resize((_SMALL, _SMALL), PilImage.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small)[..., :3]


def _convert(
    source: EncodedImage, prepare: Callable[[], ColourFilter], plan: AnimationPlan
) -> bytes:
    colours = prepare()
    codec, animation = _codec_of(plan.format), _animation_of(source)
    reduced = plan.max_side is not None and plan.max_side < max(source.width, source.height)
    if codec.map_palettes and source.format is plan.format and not reduced:

        def map_colours(palette: Samples) -> Samples:
            colours.apply(palette)
            return palette

        keep = plan.metadata is MetadataPolicy.KEEP
        mapped = codec.map_palettes(source.body, map_colours, keep)
        if mapped is not None:
            check_length(len(mapped), source.max_result_bytes)
            return mapped

    def frames() -> Iterator[Frame]:
        for image, seconds in _shown_frames(source):
            if plan.max_side is not None:
                image = fit(image, plan.max_side)
            colours.apply(image.pixels)
            samples = image.pixels
            if image.alpha is not None and not plan.opaque:
                samples = np.dstack((samples, image.alpha))
            yield Frame(samples, seconds)

    settings = AnimationSettings(
        quality=plan.quality or plan.format.codec.default_quality or 0,
        metadata=filter_metadata(reset_orientation(source.header.metadata), plan.metadata),
        profile=srgb_profile(),
        frames=animation.frames,
        plays=animation.plays,
        max_bytes=source.max_result_bytes,
    )
    return codec.write(frames(), settings)


def _shown_frames(source: EncodedImage) -> Iterator[tuple[Image, Fraction]]:
    """Yield each frame as it is shown, upright and in sRGB, and its duration.

    Raises:
        DamagedImage: a frame cannot be decoded.
    """
    for canvas, seconds in _canvases(source):
        yield _show(source, canvas), seconds


def _canvases(source: EncodedImage) -> Iterator[tuple[Rgba, Fraction]]:
    """Yield each frame as it is stored, and its duration; see `compose`.

    Raises:
        DamagedImage: a frame cannot be decoded.
    """
    count = 0
    with decode_errors(source.format):
        stored = _codec_of(source.format).read(source.body)
        for canvas, seconds in compose(stored, source.header.width, source.header.height):
            yield canvas, seconds
            count += 1
    if count != _animation_of(source).frames:
        raise DamagedImage(f"The {source.format.name} has fewer frames than its header states.")


def _show(source: EncodedImage, canvas: Rgba) -> Image:
    """Convert a frame to upright sRGB, without the metadata that all frames share."""
    plain = replace(source, header=replace(source.header, metadata=Metadata()))
    raster = Raster(canvas[..., :3].copy(), "rgb", canvas[..., 3].copy())
    with decode_errors(source.format):
        return to_image(plain, raster)


def _codec_of(image_format: ImageFormat) -> AnimationCodec:
    codec = image_format.codec.animation
    if codec is None:
        raise TypeError(f"{image_format.name} holds no animations")
    return codec


def _animation_of(source: EncodedImage) -> Animation:
    animation = source.header.animation
    if animation is None:
        raise TypeError("the image is no animation")
    return animation
