"""An image of a request before it is decoded: the plan of its result, and the memory for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from app.errors import BadParameter
from app.imaging.animation import check_animation
from app.imaging.codecs import ImageFormat
from app.imaging.probe import EncodedImage
from app.luts.apply import local_memory
from app.luts.export import LutOptions
from app.networks.store import Model
from app.restoration.cleaning import Cleaners
from app.restoration.store import Restorers
from app.serving.looks import export_memory
from app.serving.options import OFF, AcceptedFormats, EnhanceOptions, choose_format
from app.serving.permit import Permit
from app.serving.restoration import (
    Enlargement,
    OutputLimits,
    check_output,
    find_cleaners,
    output_memory,
)
from app.serving.results import Look


@dataclass(frozen=True, eq=False)
class EnhancePlan:
    """The plan of a result, decided before anything is decoded.

    Attributes:
        permit: of its request.
        source: the file, or the first frame of an animation.
        model: the model that predicts the look, where none is given.
        look: the look of a token, or None.
        options: of the request.
        format: of the result.
        cleaners: the models that clean, or None where nothing is to be cleaned.
        enlargement: how the result is enlarged.
        memory: the most bytes that it takes.
    """

    permit: Permit
    source: EncodedImage
    model: Model
    look: Look | None
    options: EnhanceOptions
    format: ImageFormat
    cleaners: Cleaners | None
    enlargement: Enlargement
    memory: int

    @property
    def is_plain(self) -> bool:
        """Whether the image is neither cleaned nor enlarged."""
        return self.cleaners is None and not self.enlargement.models


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image whose header was read, and the model or look that it will be enhanced with.

    Attributes:
        permit: of its request.
        source: the file and its header.
        model: a model that stays in use as long as the permit is held.
        look: the look of a token, which replaces the prediction, or None.
        restorers: the models that may clean or enlarge it.
        limits: of the result.
    """

    permit: Permit
    source: EncodedImage
    model: Model
    look: Look | None
    restorers: Restorers
    limits: OutputLimits

    def plan(self, options: EnhanceOptions, accepted: AcceptedFormats = ()) -> EnhancePlan:
        """Plan the result.

        Args:
            options: how; `model` and `look` are those that the image was opened with.
            accepted: the formats that the client accepts.

        Raises:
            TooManyPixels: the image cannot be enlarged so far.
            TooManyFrames: the animation is too long.
            BadParameter: an option does not fit the image or the models that are installed.
        """
        animated = self.source.header.animation is not None
        moving = animated and not options.first
        image_format = choose_format(options.format, self.source.format, accepted, animated=moving)
        if moving and image_format.codec.animation:
            source, enlargement = self.source, Enlargement(1.0)
            memory = self._animation_memory(options)
        else:
            source = self.source.first_frame() if animated else self.source
            enlargement = check_output(source, options, image_format, self.restorers, self.limits)
            output = output_memory(source, options, image_format, enlargement)
            memory = max(source.peak_bytes, output) + self._tables_memory()
        cleaners = find_cleaners(self.restorers, options)
        return EnhancePlan(
            self.permit,
            source,
            self.model,
            self.look,
            options,
            image_format,
            cleaners,
            enlargement,
            memory,
        )

    def predict_memory(self, options: LutOptions) -> int:
        """Return the most bytes of memory that `predict_lut` takes.

        Raises:
            TooManyFrames: the animation is too long.
        """
        source, side = self.source, self.model.card.thumbnail.size
        if source.header.animation is not None:
            check_animation(source, self.limits.image)
        thumbnail = ceil(source.peak_bytes * source.thumbnail_pixels(side) / source.pixels)
        return max(thumbnail, export_memory(self.model, options))

    def _tables_memory(self) -> int:
        """Return the bytes of the tables of a local look; one table alone is little."""
        network = self.model.network
        return local_memory(network.map_shape[0] + 1, network.lut_size) if network.map_shape else 0

    def _animation_memory(self, options: EnhanceOptions) -> int:
        if options.cleaning != OFF or options.upscale != 1:
            detail = "Animations are neither restored nor enlarged; first=true takes a still image."
            raise BadParameter(detail)
        check_animation(self.source, self.limits.image)
        return self.source.peak_bytes
