"""Evaluation: against an expert's version, and against photographs before damage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from skimage.color import deltaE_cie76, deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from app.training.augment import UNTOUCHED, make_degradation
from app.training.data import as_planes, find_pairs, read_photo
from app.training.ensemble import Ensemble

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
        after: of what the model makes of it.
    """

    before: float
    after: float


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
    answer = ensemble.look(pixels)(pixels / 255.0)
    levels: NDArray[np.uint8] = np.rint(answer * 255.0).astype(np.uint8)
    return levels


def score(answer: NDArray[np.uint8], target: NDArray[np.uint8]) -> Score:
    """Compare two images (H, W, 3)."""
    labs = rgb2lab(answer), rgb2lab(target)
    # scikit-image is typed in name only.
    with np.errstate(divide="ignore"):  # of equal images it is infinite
        psnr = peak_signal_noise_ratio(target, answer)  # type: ignore[no-untyped-call]
    ssim = structural_similarity(target, answer, channel_axis=2)  # type: ignore[no-untyped-call]
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


def contact_sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> Image.Image:
    """Lay images (H, W, 3) out in rows."""
    width, height = _CELL
    sheet = Image.new("RGB", (width * len(rows[0]), height * len(rows)))
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            tile = ImageOps.contain(Image.fromarray(pixels), _CELL)
            sheet.paste(tile, (x * width, y * height))
    return sheet
