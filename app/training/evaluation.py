"""Evaluation: against an expert's version, against photographs before damage, and of artifacts.

Artifacts are bands, clipping, casts and instability; they need no expert's version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageOps
from skimage.color import deltaE_cie76, deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from app.imaging.codecs import ImageFormat
from app.imaging.decode import decode, decode_reduced
from app.imaging.encode import encode
from app.imaging.probe import probe
from app.imaging.raster import Image, Metadata
from app.policies import Limits
from app.training.augment import UNTOUCHED, make_degradation
from app.training.data import as_planes, find_pairs, read_photo
from app.training.ensemble import ColourMapping, Ensemble

Floats = NDArray[np.floating]

_CELL = (360, 240)
_STRIDE = 4

DAMAGES = {
    "untouched": UNTOUCHED,
    "over-exposed 0.7 EV": make_degradation(stops=0.7),
    "under-exposed 1 EV": make_degradation(stops=-1.0),
    "under-exposed 2 EV": make_degradation(stops=-2.0),
    "warm": make_degradation(stops=(0.32, 0.0, -0.32)),
    "cold": make_degradation(stops=(-0.32, 0.0, 0.32)),
    "flat": make_degradation(contrast=0.6),
    "pale": make_degradation(saturation=0.45),
    "1 EV and warm": make_degradation(stops=(-0.68, -1.0, -1.32)),
    "1 EV and cold": make_degradation(stops=(-1.32, -1.0, -0.68)),
    "1 EV, flat and pale": make_degradation(stops=-1.0, contrast=0.7, saturation=0.6),
}
"""One photograph as it is, and ten known damages."""

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


class Score(NamedTuple):
    """Figures of one image, or the mean of many.

    Attributes:
        psnr: in dB, over all samples.
        ssim: structural similarity in windows of 7x7, the mean of the channels.
        de76: mean colour difference CIE 1976, as the papers state it.
        de2000: mean colour difference CIEDE2000.
    """

    psnr: float
    ssim: float
    de76: float
    de2000: float


class Recovery(NamedTuple):
    """Mean dE76 to the photograph before the damage.

    Attributes:
        before: of the damaged photograph.
        after: of the output of the model.
    """

    before: float
    after: float


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


@dataclass(frozen=True)
class Report:
    """The scores of an evaluation, by the names of the pairs."""

    scores: dict[str, Score]

    @property
    def mean(self) -> Score:
        """The mean over the pairs."""
        return mean_score(list(self.scores.values()))


def evaluate(ensemble: Ensemble, folder: Path, sheet: Path | None = None) -> Report:
    """Enhance the inputs of a folder's test pairs and compare them with the targets.

    Args:
        ensemble: a model, or several whose outputs are averaged.
        folder: of pairs; see `find_pairs`.
        sheet: file for a contact sheet, a PNG: input | output | target, a row for each pair.

    Raises:
        BadParameter: there are no pairs, or an image cannot be opened.
        Problem: an image cannot be decoded.
    """
    scores, rows = {}, []
    for pair in find_pairs(folder, "test"):
        before, after = read_photo(pair.input), read_photo(pair.target)
        enhanced = enhance(ensemble, before)
        scores[pair.name] = score(enhanced, after)
        rows.append([before, enhanced, after])
    if sheet is not None:
        contact_sheet(rows).save(sheet)
    return Report(scores)


def recover(ensemble: Ensemble, files: Iterable[Path]) -> dict[str, Recovery]:
    """Damage photographs in known ways, enhance them, and compare with the originals.

    Returns:
        The mean over the photographs for each damage, and the mean over all but "untouched".

    Raises:
        Problem: a photograph cannot be read.
    """
    table = np.array([_recover_photo(ensemble, read_photo(path)) for path in files])
    rows = dict(zip(DAMAGES, table.mean(axis=0), strict=True))
    rows["mean of the damaged"] = np.mean([rows[it] for it in rows if it != "untouched"], axis=0)
    return {name: Recovery(*row.tolist()) for name, row in rows.items()}


def _recover_photo(ensemble: Ensemble, pixels: NDArray[np.uint8]) -> list[tuple[float, float]]:
    """Measure each damage of one photograph, on every fourth pixel of every fourth row."""
    original = rgb2lab(pixels[::_STRIDE, ::_STRIDE])
    planes = as_planes(pixels)
    found = []
    for damage in DAMAGES.values():
        levels = damage(planes).mul(255.0).round().byte().permute(1, 2, 0).contiguous().numpy()
        damaged = levels[::_STRIDE, ::_STRIDE] / 255.0
        enhanced = ensemble.look(levels)(damaged)
        found.append(
            (mean_de76(rgb2lab(damaged), original), mean_de76(rgb2lab(enhanced), original))
        )
    return found


def enhance(ensemble: Ensemble, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enhance an image (H, W, 3)."""
    output = ensemble.look(pixels)(pixels / 255.0)
    levels: NDArray[np.uint8] = np.rint(output * 255.0).astype(np.uint8)
    return levels


def score(output: NDArray[np.uint8], target: NDArray[np.uint8]) -> Score:
    """Compare two images (H, W, 3)."""
    labs = rgb2lab(output), rgb2lab(target)
    # scikit-image is typed in name only.
    with np.errstate(divide="ignore"):  # of equal images it is infinite
        psnr = peak_signal_noise_ratio(target, output)  # type: ignore[no-untyped-call]
    ssim = structural_similarity(target, output, channel_axis=2)  # type: ignore[no-untyped-call]
    return Score(float(psnr), float(ssim), mean_de76(*labs), mean_de2000(*labs))


def mean_score(scores: list[Score]) -> Score:
    """Average each figure."""
    return Score(*np.mean(scores, axis=0).tolist())


def mean_de76(lab: NDArray[Any], other: NDArray[Any]) -> float:
    """Compute the mean CIE 1976 difference of colours (..., 3) in CIELAB."""
    return float(deltaE_cie76(lab, other).mean())  # type: ignore[no-untyped-call]


def mean_de2000(lab: NDArray[Any], other: NDArray[Any]) -> float:
    """Compute the mean CIEDE2000 difference of colours (..., 3) in CIELAB."""
    return float(deltaE_ciede2000(lab, other).mean())  # type: ignore[no-untyped-call]


def contact_sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> PilImage.Image:
    """Lay images (H, W, 3) out in rows."""
    width, height = _CELL
    sheet = PilImage.new("RGB", (width * len(rows[0]), height * len(rows)))
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            tile = ImageOps.contain(PilImage.fromarray(pixels), _CELL)
            sheet.paste(tile, (x * width, y * height))
    return sheet


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
    output = look(pixels / 255.0)
    full, reduced = (ensemble.look(it)(pixels / 255.0) for it in _two_ways(pixels, ensemble))
    return ArtifactMetrics(
        ramps=max(map(excess_variation, _ramps(look))),
        axes=excess_variation(_axes(look)),
        clipping=100.0 * (_clipped_share(output) - _clipped_share(pixels / 255.0)),
        gray=_chroma(look),
        thumbnail=mean_de2000(rgb2lab(full), rgb2lab(reduced)),
    )


def excess_variation(lines: Floats) -> float:
    """Compute total variation over net change of lines (N, ...), N points each, in all."""
    variation = float(np.abs(np.diff(lines, axis=0)).sum())
    change = float(np.abs(lines[-1] - lines[0]).sum())
    return variation / change if change else 1.0  # one colour throughout


def _ramps(look: ColourMapping) -> Iterator[Floats]:
    for start, end in _ENDS:
        yield look(start + _LEVELS[:, None] * (end - start))


def _axes(look: ColourMapping) -> Floats:
    """Map each channel along its own axis, over a grid of the other two: (256, 3, 9, 9)."""
    grid = np.stack(np.meshgrid(_LEVELS, _LINES, _LINES, indexing="ij"), axis=-1)
    # The varying channel comes first; rolled, it is red, green or blue.
    return np.stack([look(np.roll(grid, c, axis=-1))[..., c] for c in range(3)], axis=1)


def _clipped_share(colours: Floats) -> float:
    levels = np.rint(colours * 255.0)
    return float(((levels == 0.0) | (levels == 255.0)).any(axis=-1).mean())


def _chroma(look: ColourMapping) -> float:
    outputs = rgb2lab(look(np.tile(_LEVELS[:, None], 3)))
    return mean_de2000(outputs, outputs * (1.0, 0.0, 0.0))


def _two_ways(pixels: NDArray[np.uint8], ensemble: Ensemble) -> Iterator[NDArray[np.uint8]]:
    """Enlarge a photograph to a JPEG of 12 MP, and decode it in full and reduced."""
    height, width = pixels.shape[:2]
    scale = (_TWELVE_MEGAPIXELS / (height * width)) ** 0.5
    large = PilImage.fromarray(pixels).resize((round(width * scale), round(height * scale)))
    photo = Image(np.asarray(large), alpha=None, metadata=Metadata())
    source = probe(encode(photo, ImageFormat.JPEG, quality=None), Limits())
    for decoded in (decode(source), decode_reduced(source, ensemble.thumbnail.size)):
        yield decoded.pixels.astype(np.uint8, copy=False)
