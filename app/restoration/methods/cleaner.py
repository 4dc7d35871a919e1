"""The cleaner of this project: MuLUT-type tables for each kind of damage, which are mixed.

It is trained here (`app.training.restoration`); nobody published such tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from app.restoration.damage import KNOTS, Damage, blend_weights
from app.restoration.engine import Model
from app.restoration.methods import stages
from app.restoration.methods.base import Hparams, Tables


@dataclass(frozen=True, eq=False)
class Cleaner:
    """Removes artefacts of JPEG and noise from luma.

    Attributes:
        tables: of each of `KNOTS`, by the names that `stages.build` reads.
        hparams: of `stages.build`.
    """

    tables: dict[str, Tables]
    hparams: Hparams
    scale: ClassVar[int] = 1

    def for_damage(self, damage: Damage) -> Model | None:
        """Mix the tables for a damage; None where they change nothing."""
        weights = dict(zip(KNOTS, blend_weights(damage), strict=True))
        if not any(weights.values()):
            return None
        mixed: Tables = {}
        for name in self.tables[KNOTS[0]]:
            total = sum(
                (np.float32(weight) * self.tables[knot][name] for knot, weight in weights.items()),
                np.float32(0),
            )
            mixed[name] = np.rint(np.clip(total, -127, 127)).astype(np.int8)
        return stages.build(mixed, self.hparams)


def build(tables: Tables, hparams: Hparams) -> Cleaner:
    """Build the cleaner from the tables `KNOT_stageN_PATTERN`.

    Raises:
        BadModel: a table is missing, or its shape does not fit.
    """
    sets: dict[str, Tables] = {
        knot: {
            name.removeprefix(f"{knot}_"): table
            for name, table in tables.items()
            if name.startswith(f"{knot}_")
        }
        for knot in KNOTS
    }
    for named in sets.values():
        stages.build(named, hparams)
    return Cleaner(sets, hparams)
