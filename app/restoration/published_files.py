"""Published files: tables of NumPy, and tensors of PyTorch without PyTorch.

Both layouts of `torch.save` are read, and pickled modules as well as state dicts. Every class but
those of tensors is replaced by an inert one, so a hostile file cannot run code.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BadModel

Tensors: TypeAlias = dict[str, NDArray[Any]]
Hparams: TypeAlias = dict[str, Any]

_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
}
_MAX_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Imported:
    """A model, ready for the model store.

    Attributes:
        method: a key of `app.restoration.methods.METHODS`.
        tables: by the names that the method reads.
        hparams: whatever else it needs.
    """

    method: str
    tables: Tensors
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


def read_tensors(path: Path) -> Tensors:
    """Read the tensors of a file, by their names in the state dict.

    Raises:
        BadModel: the file cannot be read, or has no tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadModel(f"{path}: cannot be read ({error.strerror})") from error
    try:
        read = _read_zip if content.startswith(b"PK") else _read_legacy
        found = dict(_flatten(read(content), ""))
    except Exception as error:  # pickles of any content raise errors of any type
        raise BadModel(f"{path}: cannot be read as a PyTorch file") from error
    if not found:
        raise BadModel(f"{path}: holds no tensors")
    return found


class _Inert:
    """Stands for an object of any class; keeps its state."""

    def __init__(self, *_: object, **__: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Storage:
    """The elements of tensors, filled in when the rest of the file is read."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.elements: NDArray[Any] = np.empty(0, dtype)


class _Tensor:
    def __init__(
        self,
        storage: _Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *_: object,
    ) -> None:
        self._layout = storage, offset, shape, strides

    def __setstate__(self, state: object) -> None:
        """Ignore the attributes of a parameter."""

    def to_array(self) -> NDArray[Any]:
        """Return the elements as an array; an index beyond them raises IndexError."""
        storage, offset, shape, strides = self._layout
        index = np.full(shape, offset, np.int64)
        for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
            steps = np.arange(size, dtype=np.int64) * stride
            index += steps.reshape([-1 if it == axis else 1 for it in range(len(shape))])
        return storage.elements[index]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if name in _DTYPES and module == "torch":
            return _DTYPES[name]
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
            ("torch._utils", "_rebuild_parameter"): _data_of_parameter,
        }
        return known.get((module, name), _Inert)

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":
            return pid[1]
        dtype, key = pid[1], pid[2]
        return self.storages.setdefault(key, _Storage(dtype))


def _data_of_parameter(data: _Tensor, *_: object) -> _Tensor:
    return data


def _read_zip(content: bytes) -> object:
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(it.file_size for it in archive.infolist()) > _MAX_BYTES:
        raise ValueError("too large")
    name = next(it for it in archive.namelist() if it.endswith("/data.pkl"))
    unpickler = _Unpickler(io.BytesIO(archive.read(name)))
    loaded = unpickler.load()
    for key, storage in unpickler.storages.items():
        raw = archive.read(f"{name.removesuffix('data.pkl')}data/{key}")
        storage.elements = np.frombuffer(raw, storage.dtype)
    return loaded


def _read_legacy(content: bytes) -> object:
    file = io.BytesIO(content)
    for _ in range(3):  # magic number, protocol, and sizes of types
        _Unpickler(file).load()
    unpickler = _Unpickler(file)
    loaded = unpickler.load()
    for key in _Unpickler(file).load():
        dtype = unpickler.storages[key].dtype
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        raw = file.read(count * dtype.itemsize)
        unpickler.storages[key].elements = np.frombuffer(raw, dtype)
    return loaded


def _flatten(value: object, name: str) -> list[tuple[str, NDArray[Any]]]:
    """List the tensors of nested dicts and modules, whose names are joined by dots."""
    if isinstance(value, _Tensor):
        return [(name, value.to_array())]
    if isinstance(value, _Inert) and isinstance(value.state, dict):
        parts = (value.state.get(it) or {} for it in ("_parameters", "_buffers", "_modules"))
        value = {key: child for part in parts for key, child in part.items()}
    if not isinstance(value, dict):
        return []
    prefix = f"{name}." if name else ""
    return [
        it
        for key, child in value.items()
        if isinstance(key, str)
        for it in _flatten(child, prefix + key)
    ]
