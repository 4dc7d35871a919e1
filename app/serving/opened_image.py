"""An image of a request before it is decoded: what is made from it, and the memory that takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from app.errors import BadParameter
from app.imaging.animation import check_animation
from app.imaging.codecs import ImageFormat
from app.imaging.probe import EncodedImage
from app.luts.export import LutOptions
from app.networks.store import Model
from app.restoration.store import Restorers
from app.serving.looks import export_memory
from app.serving.options import OFF, AcceptedFormats, EnhanceOptions, choose_format
from app.serving.permit import Permit
from app.serving.restoration import Enlargement, OutputLimits, check_output, output_memory
from app.serving.results import Look
from app.serving.stages import thumbnail_memory


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image whose header was read, and the model or look that it will be enhanced with.

    Attributes:
        permit: of its request.
        source: the file and its header.
        model: a model that stays in use as long as the permit is held.
        look: the look of a token, which replaces the prediction, or None.
        restorers: the models that may enlarge it.
        limits: of the result.
    """

    permit: Permit
    source: EncodedImage
    model: Model
    look: Look | None
    restorers: Restorers
    limits: OutputLimits

    def choose(
        self, options: EnhanceOptions, accepted: AcceptedFormats = ()
    ) -> tuple[Self, ImageFormat]:
        """Choose the format of the result, and what of the image it is made from.

        Returns:
            This, or the first frame of an animation, where the format holds only stills or the
            options ask for one; and the format.
        """
        animated = self.source.header.animation is not None
        asked, own = options.format, self.source.format
        moving = animated and not options.first
        image_format = choose_format(asked, own, accepted, animated=moving)
        if animated and not (moving and image_format.codec.animation):
            return replace(self, source=self.source.first_frame()), image_format
        return self, image_format

    def enhance_memory(self, options: EnhanceOptions, accepted: AcceptedFormats = ()) -> int:
        """Return the most bytes of memory that `enhance` takes.

        Raises:
            TooManyPixels, BadParameter: the image cannot be enlarged so far.
            TooManyFrames: the animation is too long.
        """
        chosen, image_format = self.choose(options, accepted)
        source = chosen.source
        if source.header.animation is not None:
            return chosen.animation_memory(options)
        enlargement = chosen.plan_enlargement(options, image_format)
        return max(source.peak_bytes, output_memory(source, options, image_format, enlargement))

    def plan_enlargement(self, options: EnhanceOptions, image_format: ImageFormat) -> Enlargement:
        """Plan how the result is enlarged; see `check_output`."""
        return check_output(self.source, options, image_format, self.restorers, self.limits)

    def animation_memory(self, options: EnhanceOptions) -> int:
        """Return the most bytes of memory that enhancing the animation takes.

        Raises:
            TooManyFrames: the animation is too long.
            BadParameter: an option is for still images alone.
        """
        if options.restore != OFF or options.upscale != 1:
            detail = "Animations are neither restored nor enlarged; first=true takes a still image."
            raise BadParameter(detail)
        check_animation(self.source, self.limits.image)
        return self.source.peak_bytes

    def predict_memory(self, options: LutOptions) -> int:
        """Return the most bytes of memory that `predict_lut` takes.

        Raises:
            TooManyFrames: the animation is too long.
        """
        if self.source.header.animation is not None:
            check_animation(self.source, self.limits.image)
        thumbnail = thumbnail_memory(self.source, self.model.card.thumbnail.size)
        return max(thumbnail, export_memory(self.model, options))
