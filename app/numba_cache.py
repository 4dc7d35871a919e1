"""Numba cache locator for machine code that is compiled when the image is built.

Numba stores compiled functions only in writable folders and raises an error where there are none,
for example under a read-only root. Set
`NUMBA_CACHE_LOCATOR_CLASSES=app.numba_cache.ShippedCacheLocator` to read NUMBA_CACHE_DIR from
a read-only folder. Compile all functions beforehand with `clut-enhance compile-kernel`, and set
NUMBA_CPU_NAME=generic if the image is built on another CPU than the one that runs it.
"""

from __future__ import annotations

from pathlib import Path

from numba.core.caching import UserProvidedCacheLocator


class ShippedCacheLocator(UserProvidedCacheLocator):
    """Find code in NUMBA_CACHE_DIR, writable or not."""

    def ensure_cache_path(self) -> None:
        """Require that the folder exists, where numba requires that it is writable."""
        Path(str(self._cache_path)).mkdir(parents=True, exist_ok=True)
