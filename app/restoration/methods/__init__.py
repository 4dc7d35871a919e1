"""The registry of methods: one line for what a model card names, one for what is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from app.errors import BadModel
from app.restoration.engine import Model
from app.restoration.methods import (
    cleaner,
    dnlut,
    eclut,
    lerf,
    rclut,
    spflut,
    splut,
    stages,
    tinylut,
)
from app.restoration.methods.base import Hparams, Imported, Tables
from app.restoration.methods.cleaner import Cleaner
from app.restoration.resample import Resampler

METHODS: dict[str, Callable[[Tables, Hparams], Model | Resampler | Cleaner]] = {
    "sr-lut": stages.build,
    "mulut": stages.build,
    "sp-lut": splut.build,
    "tinylut": tinylut.build,
    "lerf-g": lerf.build,
    "spf-lut": spflut.build,
    "dnlut": dnlut.build,
    "rc-lut": rclut.build,
    "ec-lut": eclut.build,
    "cleaner": cleaner.build,
}

_IMPORTERS: tuple[Callable[[Sequence[Path]], Imported | None], ...] = (
    stages.import_srlut,
    stages.import_mulut,
    splut.import_splut,
    tinylut.import_tinylut,
    lerf.import_lerf,
)


def import_tables(files: Sequence[Path]) -> Imported | None:
    """Read spatial LUTs as their authors published them; the names of the files are known.

    Returns:
        The model, or None where these are files of no method here.

    Raises:
        BadModel: a file is missing or cannot be read.
    """
    for importer in _IMPORTERS:
        if imported := importer(files):
            try:
                METHODS[imported.method](imported.tables, imported.hparams)
            except BadModel as error:
                raise BadModel(f"incomplete {imported.method}: {error.detail}") from error
            return imported
    return None
