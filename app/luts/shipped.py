"""Machine code that is shipped: compiled when the image is built, read where nothing is writable.

Numba keeps compiled functions only in folders that it can write to, and gives up where there are
none, as under a read-only root. `NUMBA_CACHE_LOCATOR_CLASSES=app.luts.shipped.ShippedCode` makes
it read NUMBA_CACHE_DIR all the same. Nothing can be added then: compile all of it beforehand
(`clut-enhance compile-kernel`), with NUMBA_CPU_NAME=generic if for other CPUs than the one at hand.
"""

from __future__ import annotations

from pathlib import Path

from numba.core.caching import UserProvidedCacheLocator


class ShippedCode(UserProvidedCacheLocator):
    """Finds code in NUMBA_CACHE_DIR, writable or not."""

    def ensure_cache_path(self) -> None:
        """Asks for a folder that exists, where numba asks for one that it can write to."""
        Path(str(self._cache_path)).mkdir(parents=True, exist_ok=True)
