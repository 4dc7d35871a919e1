"""Folders, on this machine or in a bucket: whatever fsspec opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

PARTIAL = ".partial"  # the suffix of a file that is being written


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Every store has exceptions of its own for what is wrong with it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


class Storage:
    """A folder, by path or URI (`s3://bucket/photos`), and the files below it by relative names.

    It can be pickled: each process opens the store by itself.
    """

    def __init__(self, uri: str) -> None:
        """Raises ValueError if fsspec knows no such URI, or lacks a package for it."""
        try:
            self._store, root = fsspec.url_to_fs(uri)
        except ImportError as error:
            raise ValueError(f"{uri}: {error}") from error
        self.uri = uri
        self._root = root.rstrip("/")

    def __contains__(self, other: Storage) -> bool:
        """Whether the other folder is this one, or below it."""
        same_store = self._store == other._store
        return same_store and f"{other._root}/".startswith(f"{self._root}/")

    @_as_os_error()
    def names(self) -> list[str]:
        """The files below, in the order of their names; none where there is no such folder."""
        return [path.removeprefix(f"{self._root}/") for path in self._store.find(self._root)]

    def within(self, other: Storage) -> str:
        """The beginning of the names that are the other folder's, which lies in this one."""
        return f"{other._root}/".removeprefix(f"{self._root}/")

    @_as_os_error()
    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self._store.exists(self._path(name)))

    @_as_os_error()
    def size(self, name: str) -> int:
        """Its bytes; raises OSError."""
        return int(self._store.size(self._path(name)) or 0)

    @_as_os_error()
    def read(self, name: str) -> bytes:
        """The whole of it; raises OSError."""
        body: bytes = self._store.cat_file(self._path(name))
        return body

    @_as_os_error()
    def write(self, name: str, body: bytes) -> None:
        """Writes it such that it is never seen in part; raises OSError.

        A bucket shows no object before all of it is there; a file gets its name in the end.
        """
        if isinstance(self._store, LocalFileSystem):
            target = Path(self._path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + PARTIAL)
            partial.write_bytes(body)
            partial.replace(target)
        else:
            self._store.pipe_file(self._path(name), body)

    @_as_os_error()
    def remove(self, name: str) -> None:
        """Deletes it; raises OSError."""
        self._store.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
