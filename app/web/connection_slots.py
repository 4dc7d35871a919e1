"""The connections of one port: a limit, and a reserve beyond it for probes."""

from __future__ import annotations

import math
from collections.abc import Callable

RESERVE = 16  # connections beyond the limit
RESERVE_SECONDS = 1.0  # in which a connection of the reserve has to send its request


class ConnectionSlots:
    """Counts connections; those beyond the limit are reserved for one probe each.

    When the reserve is full, its oldest connection is closed. A probe sends its request at once,
    so that it is served however many idle connections others hold.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._regular: set[object] = set()
        self._reserved: dict[object, Callable[[], None]] = {}  # oldest first

    def take(self, connection: object, close: Callable[[], None]) -> float:
        """Count a connection, and return the seconds in which it has to send its first request.

        Args:
            connection: identifies it.
            close: closes it.
        """
        if len(self._regular) < self._limit:
            self._regular.add(connection)
            return math.inf
        if len(self._reserved) >= RESERVE:
            close_oldest = self._reserved.pop(next(iter(self._reserved)))
            close_oldest()
        self._reserved[connection] = close
        return RESERVE_SECONDS

    def release(self, connection: object) -> None:
        """Count a connection no longer."""
        self._regular.discard(connection)
        self._reserved.pop(connection, None)

    def is_reserved(self, connection: object) -> bool:
        """Return whether a connection may only send a probe."""
        return connection not in self._regular
