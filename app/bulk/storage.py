"""Folders on this machine and in buckets; their files have names relative to the folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeAlias

from app.errors import NotAnImage
from app.imaging.codecs import ImageFormat, formats_by_suffix
from app.regular_files import read_regular_file

PARTIAL = ".partial"  # suffix of a file that is being written

Storage: TypeAlias = "LocalStorage | BucketStorage"


def open_storage(uri: str) -> Storage:
    """Open a folder, which need not exist.

    Args:
        uri: a path, or a URI such as s3://bucket/photos, which fsspec opens.

    Raises:
        ValueError: fsspec supports no such URI, or a package for it is missing.
    """
    path = uri.removeprefix("file://")
    if "://" not in path:
        return LocalStorage(path)
    try:
        return BucketStorage(uri)
    except ImportError as error:  # fsspec's message names the package that it needs
        hint = "; pip install 'clut-enhance[bulk]'" if error.name == "fsspec" else ""
        raise ValueError(f"{uri}: {error}{hint}") from error


class LocalStorage:
    """A folder on this machine. Names that are not UTF-8 hold surrogates, as from `os.fsdecode`."""

    def __init__(self, path: str) -> None:
        self.uri = path
        self._root = Path(path).resolve()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, which is created, for as long as the context or the process lasts.

        Raises:
            ValueError: another process has locked it.
            OSError: it cannot be created.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ValueError(f"{self.uri}: another bulk run is at work on it") from None
        except OSError:  # a file server without locks of folders
            pass
        try:
            yield
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """List the files below, sorted; none if the folder does not exist.

        Folders that are not read (symbolic links, or those without permission) are listed like
        files, so that none is skipped without a result: `size` raises the reason.

        Raises:
            OSError: the folder itself cannot be read.
        """
        found: list[Path] = []

        def note(error: OSError) -> None:
            folder = Path(error.filename)
            if folder != self._root:
                found.append(folder)
            elif not isinstance(error, FileNotFoundError):
                raise error

        for folder, below, files in os.walk(self._root, onerror=note):
            found += [path for name in below if (path := Path(folder, name)).is_symlink()]
            found += [Path(folder, name) for name in files]
        return sorted(str(path.relative_to(self._root)) for path in found)

    def exists(self, name: str) -> bool:
        """Return whether there is such a file; raise OSError."""
        return (self._root / name).exists()

    def size(self, name: str) -> int:
        """Return the size of a file in bytes.

        Raises:
            NotAnImage: it is no regular file; reading a named pipe may never end.
            OSError: it cannot be read.
        """
        path = self._root / name
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            if path.is_symlink():
                raise NotAnImage("It is a symbolic link to a folder, which is not followed.")
            next(path.iterdir(), None)  # raises the error for which `names` skipped it
        if not stat.S_ISREG(status.st_mode):
            raise NotAnImage("It is not a regular file.")
        return status.st_size

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """Return the content of a regular file of at most so many bytes; raise OSError."""
        return read_regular_file(self._root / name, max_bytes)

    def fetch(self, name: str, _: Path) -> Path:
        """Return the path of a file for programs that read paths."""
        return self._root / name

    def write(self, name: str, body: bytes) -> None:
        """Write a file, which gets its name when it is complete and on the disk; raise OSError."""
        self._write_from(name, BytesIO(body))

    def upload(self, name: str, path: Path) -> None:
        """Write a file with the content of a local one, as `write` does; raise OSError."""
        with path.open("rb") as content:
            self._write_from(name, content)

    def _write_from(self, name: str, content: BinaryIO) -> None:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = self._root / partial_name(name)
        partial.unlink(missing_ok=True)
        try:
            with partial.open("xb") as file:  # never through a symbolic link
                shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:  # such as a full disk, on which it takes space
            partial.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(target)) from error

    def remove(self, name: str) -> None:
        """Delete a file; raise OSError."""
        (self._root / name).unlink()

    def prefix_of(self, other: Storage) -> str | None:
        """Return the prefix of the names that belong to another folder; None if it is outside."""
        if not isinstance(other, LocalStorage) or not other._root.is_relative_to(self._root):
            return None
        below = other._root.relative_to(self._root)
        return "" if below == Path() else f"{below}/"


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Raise OSError instead of the exceptions of each kind of bucket."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


class BucketStorage:
    """A folder of a bucket, or of anything else that fsspec opens. Needs the extra `bulk`."""

    def __init__(self, uri: str) -> None:
        import fsspec  # here: an extra, and 0.2 s to load

        self._store: Any
        self._store, root = fsspec.url_to_fs(uri)
        self.uri = uri
        self._root = root.rstrip("/")

    def locked(self) -> AbstractContextManager[None]:
        """Lock nothing: a bucket has no locks."""
        return nullcontext()

    @_as_os_error()
    def names(self) -> list[str]:
        """List the files below, sorted; none if there is no such folder; raise OSError."""
        paths = self._store.find(self._root)
        return sorted(path.removeprefix(f"{self._root}/") for path in paths)

    @_as_os_error()
    def exists(self, name: str) -> bool:
        """Return whether there is such a file; raise OSError."""
        return bool(self._store.exists(self._path(name)))

    @_as_os_error()
    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raise OSError."""
        return int(self._store.size(self._path(name)) or 0)

    @_as_os_error()
    def read(self, name: str, _: int | None = None) -> bytes:
        """Return the content of a file, which does not change while it is read; raise OSError."""
        return bytes(self._store.cat_file(self._path(name)))

    @_as_os_error()
    def fetch(self, name: str, folder: Path) -> Path:
        """Copy a file into a local folder; return the path of the copy; raise OSError."""
        path = folder / PurePosixPath(name).name
        self._store.get_file(self._path(name), str(path))
        return path

    @_as_os_error()
    def write(self, name: str, body: bytes) -> None:
        """Write a file, which a bucket shows when all of it has arrived; raise OSError."""
        self._store.pipe_file(self._path(name), body)

    @_as_os_error()
    def upload(self, name: str, path: Path) -> None:
        """Write a file with the content of a local one, as `write` does; raise OSError."""
        self._store.put_file(str(path), self._path(name))

    @_as_os_error()
    def remove(self, name: str) -> None:
        """Delete a file; raise OSError."""
        self._store.rm_file(self._path(name))

    def prefix_of(self, other: Storage) -> str | None:
        """Return the prefix of the names that belong to another folder; None if it is outside."""
        if not isinstance(other, BucketStorage) or other._store != self._store:
            return None
        mine, theirs = f"{self._root}/", f"{other._root}/"
        return theirs.removeprefix(mine) if theirs.startswith(mine) else None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


SUFFIXES = formats_by_suffix()


def has_suffix_of(name: str, image_format: ImageFormat) -> bool:
    """Return whether the suffix of a file name is one of the format's."""
    return PurePosixPath(name).suffix.lower() in image_format.codec.suffixes


def output_name(name: str, image_format: ImageFormat) -> str:
    """Return the name of the enhanced image of a file.

    It is the name of the file, with the suffix of the format appended if its own is of another
    format. Suffixes are appended, not replaced, so that a.heic and a.bmp have different names.
    """
    return name if has_suffix_of(name, image_format) else f"{name}{image_format.suffix}"


def partial_name(name: str) -> str:
    """Return the name that a file has while it is written, in the same folder.

    It is short, since a file may have a name of the greatest length.
    """
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return str(PurePosixPath(name).with_name(digest + PARTIAL))


def possible_output_names(name: str) -> list[str]:
    """Return every name that `output_name` returns for a file, in any format."""
    return [name, *(f"{name}{it.suffix}" for it in ImageFormat if it.encodable)]
