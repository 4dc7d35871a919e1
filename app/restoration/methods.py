"""The registry of methods: a line for each method of model cards, and one for each importer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from app.errors import BadModel
from app.restoration import lerf, splut, tinylut
from app.restoration.cleaning import Cleaner, build_cleaner
from app.restoration.descriptions import DESCRIPTIONS, build_described, import_mulut, import_srlut
from app.restoration.engine import Model, Tables
from app.restoration.lerf import Resampler
from app.restoration.published_files import Hparams, Imported

METHODS: dict[str, Callable[[Tables, Hparams], Model | Resampler | Cleaner]] = {
    **{name: partial(build_described, name) for name in DESCRIPTIONS},
    "sp-lut": splut.build,
    "tinylut": tinylut.build,
    "lerf-g": lerf.build,
    "cleaner": build_cleaner,
}

_IMPORTERS: tuple[Callable[[Sequence[Path]], Imported | None], ...] = (
    import_srlut,
    import_mulut,
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
