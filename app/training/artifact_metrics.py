"""Artifacts on photographs without an expert's version: bands, clipping, casts, instability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from skimage.color import rgb2lab

from app.imaging.codecs import ImageFormat
from app.imaging.decode import decode, decode_reduced
from app.imaging.encode import encode
from app.imaging.probe import probe
from app.imaging.raster import Metadata
from app.imaging.types import Image
from app.policies import Limits
from app.training.data import read_photo
from app.training.ensemble import Ensemble, Look
from app.training.evaluation import mean_de2000

Floats = NDArray[np.floating]

_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_ENDS = np.array(
    [
        (_BLACK, _WHITE),
        *((_BLACK, hue) for hue in np.eye(3)),
        *((hue, _WHITE) for hue in np.eye(3)),
        ((0.15, 0.35, 0.70), (0.80, 0.90, 1.00)),  # the sky at noon,
        ((0.25, 0.35, 0.60), (0.98, 0.75, 0.45)),  # at sunset,
        ((0.05, 0.06, 0.15), (0.45, 0.50, 0.60)),  # at dusk
    ]
)
_TWELVE_MEGAPIXELS = 12_000_000
_LEVELS = np.linspace(0.0, 1.0, 256)
_LINES = np.linspace(0.0, 1.0, 9)


class ArtifactMetrics(NamedTuple):
    """Figures of one photograph, or of many.

    Attributes:
        ramps: total variation over net change of the output along ramps of gray, of colours and
            of skies, the worst of them; 1 is free of bands.
        axes: the same along the axes of the colour cube, each channel along its own, in all.
        clipping: by how many points the share of pixels with a channel at 0 or 255 rises.
        gray: mean dE2000 of output grays from the gray of the same lightness.
        thumbnail: mean dE2000 between the outputs for the two thumbnails that the service makes
            of a 12 MP JPEG of the photograph: of all its pixels for POST /enhance, of its
            reduced decode for POST /lut.
    """

    ramps: float
    axes: float
    clipping: float
    gray: float
    thumbnail: float


def measure_artifacts(ensemble: Ensemble, files: Iterable[Path]) -> dict[str, ArtifactMetrics]:
    """Measure the artifacts that a model, or several together, cause on photographs.

    Raises:
        Problem: a photograph cannot be read.
    """
    return {path.name: measure_photo(ensemble, read_photo(path)) for path in files}


def summarize(metrics: Iterable[ArtifactMetrics]) -> ArtifactMetrics:
    """Take the 95th percentile of `ramps` and `axes`, and the mean of the others."""
    columns = np.array(list(metrics)).T
    return ArtifactMetrics(*np.percentile(columns[:2], 95, axis=1), *columns[2:].mean(axis=1))


def measure_photo(ensemble: Ensemble, pixels: NDArray[np.uint8]) -> ArtifactMetrics:
    """Measure the artifacts on one photograph (H, W, 3)."""
    look = ensemble.look(pixels)
    answer = look(pixels / 255.0)
    full, reduced = (ensemble.look(it)(pixels / 255.0) for it in _two_ways(pixels, ensemble))
    return ArtifactMetrics(
        ramps=max(map(excess_variation, _ramps(look))),
        axes=excess_variation(_axes(look)),
        clipping=100.0 * (_clipped(answer) - _clipped(pixels / 255.0)),
        gray=_chroma(look),
        thumbnail=mean_de2000(rgb2lab(full), rgb2lab(reduced)),
    )


def excess_variation(lines: Floats) -> float:
    """Compute total variation over net change of lines (N, ...), N points each, in all."""
    variation = float(np.abs(np.diff(lines, axis=0)).sum())
    change = float(np.abs(lines[-1] - lines[0]).sum())
    return variation / change if change else 1.0  # one colour throughout


def _ramps(look: Look) -> Iterator[Floats]:
    for start, end in _ENDS:
        yield look(start + _LEVELS[:, None] * (end - start))


def _axes(look: Look) -> Floats:
    """Map each channel along its own axis, over a grid of the other two: (256, 3, 9, 9)."""
    grid = np.stack(np.meshgrid(_LEVELS, _LINES, _LINES, indexing="ij"), axis=-1)
    # The varying channel comes first; rolled, it is red, green or blue.
    return np.stack([look(np.roll(grid, c, axis=-1))[..., c] for c in range(3)], axis=1)


def _clipped(colours: Floats) -> float:
    levels = np.rint(colours * 255.0)
    return float(((levels == 0.0) | (levels == 255.0)).any(axis=-1).mean())


def _chroma(look: Look) -> float:
    answers = rgb2lab(look(np.tile(_LEVELS[:, None], 3)))
    return mean_de2000(answers, answers * (1.0, 0.0, 0.0))


def _two_ways(pixels: NDArray[np.uint8], ensemble: Ensemble) -> Iterator[NDArray[np.uint8]]:
    """Enlarge a photograph to a JPEG of 12 MP, and decode it in full and reduced."""
    height, width = pixels.shape[:2]
    scale = (_TWELVE_MEGAPIXELS / (height * width)) ** 0.5
    large = PilImage.fromarray(pixels).resize((round(width * scale), round(height * scale)))
    photo = Image(np.asarray(large), alpha=None, metadata=Metadata(), format=ImageFormat.JPEG)
    source = probe(encode(photo, ImageFormat.JPEG, quality=None), Limits())
    for decoded in (decode(source), decode_reduced(source, ensemble.thumbnail.size)):
        yield decoded.pixels.astype(np.uint8, copy=False)
