"""Evaluation against what an expert made of the same photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.training.ensemble import Ensemble
from app.training.pairs import find_pairs
from app.training.photos import read_photo
from app.training.scores import Score, mean_score, score
from app.training.sheet import contact_sheet, tile


@dataclass(frozen=True)
class Report:
    """What an evaluation found, by the names of the pairs."""

    scores: dict[str, Score]

    @property
    def mean(self) -> Score:
        """Over the pairs."""
        return mean_score(list(self.scores.values()))


def evaluate(ensemble: Ensemble, folder: Path, sheet: Path | None = None) -> Report:
    """Enhances the inputs of a folder's test pairs and compares them with the targets.

    Args:
        ensemble: a model, or several whose answers are mixed.
        folder: of pairs; see `find_pairs`.
        sheet: file for a contact sheet, a PNG: input | answer | target, a row for each pair.

    Raises:
        BadParameter: there are no pairs, or a photo cannot be opened.
        Problem: a photo cannot be decoded.
    """
    scores, rows = {}, []
    for pair in find_pairs(folder, "test"):
        before, after = read_photo(pair.input), read_photo(pair.target)
        answer = ensemble.look(before)(before / 255.0)
        enhanced = np.rint(answer * 255.0).astype(np.uint8)
        scores[pair.name] = score(enhanced, after)
        if sheet is not None:
            rows.append([tile(it) for it in (before, enhanced, after)])
    if sheet is not None:
        contact_sheet(rows).save(sheet)
    return Report(scores)
