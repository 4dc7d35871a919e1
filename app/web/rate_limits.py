"""Quotas of API keys: requests and bytes of memory in a period."""

from __future__ import annotations

import math
from time import time

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from app.errors import QuotaExceeded
from app.policies import ApiKey, QuotaPolicy


class RateLimits:
    """The quotas that the keys have used."""

    def __init__(self, policy: QuotaPolicy) -> None:
        self._policy = policy
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def charge(self, key: ApiKey, unit: str, amount: int) -> None:
        """Charge a key for "requests" or "memory".

        Raises:
            QuotaExceeded: fewer are left; nothing is charged, and it holds when to retry.
        """
        item = self._rates(key).get(unit)
        if item is None:
            return
        # Checked first, since a rejected `hit` is charged nevertheless.
        affordable = await self._limiter.test(item, key.name, unit, cost=amount)
        if affordable and await self._limiter.hit(item, key.name, unit, cost=amount):
            return
        reset = (await self._limiter.get_window_stats(item, key.name, unit)).reset_time
        raise QuotaExceeded(
            f"The key {key.name!r} may use {item.amount} {unit} in {item.get_expiry()} "
            f"seconds; {amount} more would exceed that.",
            retry=max(1, math.ceil(reset - time())),
        )

    async def headers(self, key: ApiKey) -> dict[str, str]:
        """Return RateLimit and RateLimit-Policy (IETF draft "RateLimit header fields")."""
        policies, states = [], []
        for unit, item in self._rates(key).items():
            reset, remaining = await self._limiter.get_window_stats(item, key.name, unit)
            seconds = max(0, math.ceil(reset - time()))
            policies.append(f'"{unit}";q={item.amount};w={item.get_expiry()}')
            states.append(f'"{unit}";r={remaining};t={seconds}')
        if not policies:
            return {}
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}

    def _rates(self, key: ApiKey) -> dict[str, RateLimitItem]:
        rates = {
            "requests": key.requests or self._policy.requests,
            "memory": key.memory_bytes or self._policy.memory_bytes,
        }
        return {unit: parse(rate) for unit, rate in rates.items() if rate is not None}
