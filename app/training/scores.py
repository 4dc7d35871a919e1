"""How near an answer is to its target."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_cie76, deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


class Score(NamedTuple):
    """Figures of one photo, or the mean of many.

    Attributes:
        psnr: in dB, over all samples.
        ssim: structural similarity in windows of 7x7, the mean of the channels.
        de76: mean colour difference after CIE 1976, as the papers have it.
        de2000: mean colour difference after CIEDE2000.
    """

    psnr: float
    ssim: float
    de76: float
    de2000: float


def score(answer: NDArray[np.uint8], target: NDArray[np.uint8]) -> Score:
    """Compares two photos (H, W, 3)."""
    labs = rgb2lab(answer), rgb2lab(target)
    # scikit-image is typed in name only.
    with np.errstate(divide="ignore"):  # of a perfect answer it is infinite
        psnr = peak_signal_noise_ratio(target, answer)  # type: ignore[no-untyped-call]
    ssim = structural_similarity(target, answer, channel_axis=2)  # type: ignore[no-untyped-call]
    de76 = deltaE_cie76(*labs).mean()  # type: ignore[no-untyped-call]
    return Score(float(psnr), float(ssim), float(de76), mean_de2000(*labs))


def mean_score(scores: list[Score]) -> Score:
    """The mean of each figure."""
    return Score(*np.mean(scores, axis=0).tolist())


def mean_de2000(lab: NDArray[Any], other: NDArray[Any]) -> float:
    """The mean CIEDE2000 difference of colours (..., 3) in CIELAB."""
    difference = deltaE_ciede2000(lab, other)  # type: ignore[no-untyped-call]  # as above
    return float(difference.mean())
