"""What the methods share: tables by name, and the files that they are imported from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel

Tables: TypeAlias = dict[str, NDArray[Any]]
Hparams: TypeAlias = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Imported:
    """A published model, ready for the model store.

    Attributes:
        method: a key of `app.restoration.methods.METHODS`.
        tables: by the names that the method reads.
        hparams: whatever else it needs.
    """

    method: str
    tables: Tables
    hparams: Hparams


def read_table(path: Path) -> NDArray[np.int8]:
    """Read an int8 table from a .npy file: (rows, values).

    Raises:
        BadModel: the file cannot be read, or holds something else.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: cannot be read as a table ({error})") from error
    if not isinstance(table, np.ndarray) or table.dtype != np.int8 or table.ndim < 2:
        raise BadModel(f"{path}: holds no int8 table")
    return np.ascontiguousarray(table.reshape(len(table), -1))


def take(tables: Tables, name: str, *shape: int) -> NDArray[Any]:
    """Return a table of a shape.

    Raises:
        BadModel: it is missing, or has another shape.
    """
    table = tables.get(name)
    if table is None:
        raise BadModel(f"the table {name} is missing")
    if table.shape != shape:
        raise BadModel(f"the table {name} has shape {table.shape}, expected {shape}")
    return table
