"""Compilation of loops on first use, cached on disk.

Numba stores compiled functions only in writable folders and raises an error where there are none,
for example under a read-only root. Set
`NUMBA_CACHE_LOCATOR_CLASSES=app.jit.ShippedCacheLocator` to read NUMBA_CACHE_DIR from a read-only
folder. Compile all functions beforehand with `clut-enhance compile-kernel`, and set
NUMBA_CPU_NAME=generic if the image is built on another CPU than the one that runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import UserProvidedCacheLocator

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile a function with Numba; it releases the GIL and keeps its signature for mypy."""
    return _compile(function)


def jit_reordered(function: Function) -> Function:
    """Compile as `jit` does; sums of floats may be computed in any order, and so in vectors."""
    return _compile(function, fastmath={"reassoc", "contract", "nsz"})


def _compile(function: Function, **options: Any) -> Function:
    try:
        return cast("Function", njit(nogil=True, cache=True, **options)(function))
    except RuntimeError:  # no writable cache folder: compile at every start
        return cast("Function", njit(nogil=True, **options)(function))


class ShippedCacheLocator(UserProvidedCacheLocator):
    """Find code in NUMBA_CACHE_DIR, writable or not."""

    def ensure_cache_path(self) -> None:
        """Require that the folder exists, where numba requires that it is writable."""
        Path(str(self._cache_path)).mkdir(parents=True, exist_ok=True)
