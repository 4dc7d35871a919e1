"""Reading of files that other processes may replace while the service runs."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: Path, max_bytes: int | None = None) -> bytes:
    """Return the content of a file, without waiting for anything but the disk.

    A named pipe or a device is rejected once it is open, since it could have been put in the
    place of a file after a check, and could be read forever.

    Args:
        path: the file; symbolic links are followed.
        max_bytes: the largest size that is read.

    Raises:
        OSError: it cannot be read, is no regular file, or is or grows larger.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if max_bytes is None:
            return file.read()
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))
    return content
