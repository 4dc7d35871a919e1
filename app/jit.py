"""Compilation of loops on first use, cached on disk (see NUMBA_CACHE_DIR)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile a function with Numba; it releases the GIL and keeps its signature for mypy."""
    try:
        return cast("Function", njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no writable cache folder: compile at every start
        return cast("Function", njit(nogil=True)(function))
