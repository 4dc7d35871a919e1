"""Authentication: the principal of a request, its scopes and its quotas."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from limits import RateLimitItem, parse

from app.access import ApiKey, ApiKeyStore, QuotaPolicy
from app.errors import Forbidden, QuotaExceeded, Unauthorised

_bearer = HTTPBearer(auto_error=False, description="An API key, if the server requires one.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


class Principal:
    """The sender of a request: the holder of a key, or anonymous where no key is required."""

    def __init__(self, request: Request, key: ApiKey | None, quotas: RateLimits) -> None:
        self.key = key
        self._state = request.state
        self._quotas = quotas

    def charge(self, unit: str, amount: int) -> None:
        """Charge the key, if any, for "requests" or "memory"; the response states the remainder.

        Raises:
            QuotaExceeded: the quota is used up.
        """
        if self.key is None:
            return
        try:
            self._quotas.charge(self.key, unit, amount)
        finally:
            self._state.quota_headers = self._quotas.headers(self.key)

    def charge_memory(self, size: int) -> None:
        """Charge the bytes of memory that the request is about to take."""
        self.charge("memory", size)


class Authenticator:
    """Authenticates requests by the configured keys."""

    def __init__(self, keys: ApiKeyStore, quotas: RateLimits) -> None:
        self.keys = keys
        self._quotas = quotas

    async def authenticate(
        self, request: Request, credentials: Credentials, *scopes: str
    ) -> Principal:
        """Return the sender of a request, after charging it for the request.

        Raises:
            Unauthorised: the request needs a key, and has no valid one.
            Forbidden: its key has none of the scopes.
            QuotaExceeded: the quota of its key is used up.
        """
        if not self.keys.required:
            if "admin" in scopes:
                raise Forbidden("Without API keys this cannot be done over HTTP.")
            return Principal(request, None, self._quotas)
        key = await self.keys.find(credentials.credentials) if credentials else None
        if key is None:
            raise Unauthorised("Send a valid API key, as `Authorization: Bearer KEY`.")
        request.state.key_name = key.name
        principal = Principal(request, key, self._quotas)
        principal.charge("requests", 1)
        if scopes and not key.scopes.intersection(scopes):
            raise Forbidden(
                f"The key {key.name!r} has none of the needed scopes.", needed=list(scopes)
            )
        return principal


async def authenticate(
    request: Request, security: SecurityScopes, credentials: Credentials
) -> Principal:
    """Authenticate a request; one of the route's scopes suffices, and without scopes any key."""
    authenticator: Authenticator = request.app.state.parts["authenticator"]
    return await authenticator.authenticate(request, credentials, *security.scopes)


RequireEnhance = Annotated[Principal, Security(authenticate, scopes=["enhance"])]
RequireLutScope = Annotated[Principal, Security(authenticate, scopes=["lut"])]
RequireAnyKey = Annotated[Principal, Security(authenticate)]
RequireMetricsScope = Annotated[Principal, Security(authenticate, scopes=["metrics"])]
RequireAdmin = Annotated[Principal, Security(authenticate, scopes=["admin"])]


@dataclass
class _Window:
    """The time in which a key may use an amount, and what it has used.

    Attributes:
        end: on the clock of the quotas; then another window begins.
        used: of the amount.
    """

    end: float
    used: int = 0


class RateLimits:
    """The quotas that the keys have used, in windows that begin with the first request.

    The windows are in memory, as many as there are keys, and their clock is never set: with the
    time of day, a quota would stay used up for as long as the clock is set back.
    """

    def __init__(self, policy: QuotaPolicy, clock: Callable[[], float] = monotonic) -> None:
        """`clock` returns seconds."""
        self._policy, self._clock = policy, clock
        self._windows: dict[tuple[str, str, RateLimitItem], _Window] = {}

    def charge(self, key: ApiKey, unit: str, amount: int) -> None:
        """Charge a key for "requests" or "memory".

        Raises:
            QuotaExceeded: fewer are left; nothing is charged, and it holds when to retry.
        """
        item = self._rates(key).get(unit)
        if item is None:
            return
        window = self._window(key, unit, item)
        if window.used + amount > item.amount:
            raise QuotaExceeded(
                f"The key {key.name!r} may use {item.amount} {unit} in {item.get_expiry()} "
                f"seconds; {amount} more would exceed that.",
                retry=max(1, self._seconds_left(window)),
            )
        window.used += amount

    def headers(self, key: ApiKey) -> dict[str, str]:
        """Return RateLimit and RateLimit-Policy (IETF draft "RateLimit header fields")."""
        policies, states = [], []
        for unit, item in self._rates(key).items():
            window = self._window(key, unit, item)
            remaining = item.amount - window.used
            policies.append(f'"{unit}";q={item.amount};w={item.get_expiry()}')
            states.append(f'"{unit}";r={remaining};t={self._seconds_left(window)}')
        if not policies:
            return {}
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}

    def _window(self, key: ApiKey, unit: str, item: RateLimitItem) -> _Window:
        """Return the present window of a key, which begins now if the last one has ended."""
        window = self._windows.get((key.name, unit, item))
        if window is None or window.end <= self._clock():
            window = _Window(self._clock() + item.get_expiry())
            self._windows[key.name, unit, item] = window
        return window

    def _seconds_left(self, window: _Window) -> int:
        return max(0, math.ceil(window.end - self._clock()))

    def _rates(self, key: ApiKey) -> dict[str, RateLimitItem]:
        rates = {
            "requests": key.requests or self._policy.requests,
            "memory": key.memory_bytes or self._policy.memory_bytes,
        }
        return {unit: parse(rate) for unit, rate in rates.items() if rate is not None}
