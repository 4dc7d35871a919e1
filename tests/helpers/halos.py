"""Halos: whether a local look changes a flat ground beside an edge."""

from __future__ import annotations

import numpy as np

from app.training.ensemble import Ensemble
from app.training.evaluation import enhance

_EDGE, _RADIUS, _NEAR = 512, 110, 10  # pixels: of the image, of the disc, beside its edge


def measure_overshoot(ensemble: Ensemble, sky: int, figure: int) -> float:
    """Measure the halo at the edge of a dark disc on a bright ground, both flat but for noise.

    Args:
        ensemble: the model.
        sky: the level of the ground.
        figure: the level of the disc.

    Returns:
        The most levels by which the mean of a ring of 2 pixels, within 10 pixels of the edge,
        exceeds what the same side has farther away.
    """
    y, x = np.mgrid[:_EDGE, :_EDGE]
    distance = np.hypot(x - _EDGE / 2, y - 300) - _RADIUS
    levels = np.where(distance < 0, figure, sky)[..., None]
    noise = np.random.default_rng(0).normal(0, 1, (_EDGE, _EDGE, 3))
    enhanced = enhance(ensemble, (levels + noise).clip(0, 255).astype(np.uint8)).mean(axis=2)
    rings = np.arange(-60, 100, 2)
    means = np.array([enhanced[(distance >= it) & (distance < it + 2)].mean() for it in rings])
    worst = 0.0
    for side in (rings >= 2, rings < -4):
        near, far = means[side & (abs(rings) < _NEAR)], means[side & (abs(rings) >= _NEAR)]
        worst = max(worst, float(near.max() - far.max()), float(far.min() - near.min()))
    return worst
