"""The results of the service: immutable data, timings included."""

from __future__ import annotations

from dataclasses import dataclass

from app.imaging.codecs import ImageFormat
from app.luts.formats import LutFormat
from app.luts.local_lut import AnyLut
from app.luts.lut_error import ErrorStats
from app.networks.store import ModelCard
from app.restoration.cleaning import Damage

STAGES = ("decode", "predict", "restore", "apply", "upscale", "encode")


@dataclass(frozen=True)
class StageTime:
    """The time in which a stage of a request ran.

    Attributes:
        stage: one of `STAGES`.
        begin: nanoseconds since 1970.
        end: nanoseconds since 1970.
    """

    stage: str
    begin: int
    end: int


@dataclass(frozen=True)
class Timings:
    """The durations of a request and its stages.

    Attributes:
        stages: the stages that have ended, in that order.
        total: seconds since the body was received.
    """

    stages: tuple[StageTime, ...]
    total: float

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage that ran, in the order of `STAGES`."""
        sums = dict.fromkeys(STAGES, 0)
        for it in self.stages:
            sums[it.stage] += it.end - it.begin
        ran = {it.stage for it in self.stages}
        return {stage: sums[stage] / 1e9 for stage in STAGES if stage in ran}

    @property
    def queue(self) -> float:
        """Seconds spent waiting, which no stage accounts for."""
        return max(0.0, self.total - sum(self.seconds.values()))


@dataclass(frozen=True, eq=False)
class Look:
    """A LUT, local or not, and the model and token that it comes from."""

    card: ModelCard
    token: str
    lut: AnyLut


@dataclass(frozen=True)
class Cleaning:
    """How an image was cleaned.

    Attributes:
        damage: as measured.
        strength: the share of the correction that was made; 0 leaves the image alone.
    """

    damage: Damage
    strength: float


@dataclass(frozen=True, eq=False)
class EnhancedImage:
    """An enhanced image, encoded.

    Attributes:
        body: the file.
        format: the format of the file.
        look: the look that was predicted or given.
        change: the mean CIEDE2000 difference that the look makes.
        applied: whether the look was applied; False where `change` is below the option
            `min_change`.
        timings: how long it took.
        cleaning: how it was cleaned, or None where that was not requested.
        factor: by which it was enlarged.
        enlarged_by: NAME@VERSION of the models that enlarged it, in their order.
        notes: treatments that clients may not expect, as in `app.imaging.raster.Image`.
    """

    body: bytes
    format: ImageFormat
    look: Look
    change: float
    applied: bool
    timings: Timings
    cleaning: Cleaning | None = None
    factor: float = 1.0
    enlarged_by: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ExportedLut:
    """A LUT as a file.

    Attributes:
        look: the look whose LUT it is.
        body: the file, compressed with gzip where that was requested.
        format: the format of the file.
        error: how far the file is from the LUT that images go through, or None where it holds
            exactly that LUT.
    """

    look: Look
    body: bytes
    format: LutFormat
    error: ErrorStats | None


@dataclass(frozen=True, eq=False)
class PredictedLut:
    """The LUT that was predicted for an image.

    Attributes:
        file: the LUT as a file.
        timings: how long it took.
        notes: treatments of the image that clients may not expect, as in `EnhancedImage`.
    """

    file: ExportedLut
    timings: Timings
    notes: tuple[str, ...] = ()
