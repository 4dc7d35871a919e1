"""Loops that are compiled on their first use, and kept on disk (see NUMBA_CACHE_DIR)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Numba's decorator, which for the type checker keeps the signature; releases the GIL."""
    try:
        return cast("Function", njit(nogil=True, cache=True)(function))
    except RuntimeError:  # nowhere to keep machine code: it is made at every start
        return cast("Function", njit(nogil=True)(function))
