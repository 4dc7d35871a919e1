"""How much each API key may ask for: requests and pixels in a time."""

from __future__ import annotations

import math
from time import time

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from app.errors import QuotaExceeded
from app.policies import ApiKey, QuotaPolicy
from app.web.api_keys import rate


class RateLimits:
    """What every key has used up."""

    def __init__(self, policy: QuotaPolicy) -> None:
        self._policy = policy
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def charge(self, key: ApiKey, unit: str, amount: int) -> None:
        """Charges a key for "requests" or "memory".

        Raises:
            QuotaExceeded: it has fewer left; nothing is charged, and it is told when to come back.
        """
        item = self._rates(key).get(unit)
        if item is None:
            return
        if not await self._limiter.test(item, key.name, unit, cost=amount):
            reset = (await self._limiter.get_window_stats(item, key.name, unit)).reset_time
            raise QuotaExceeded(
                f"The key {key.name!r} may use {item.amount} {unit} in {item.get_expiry()} "
                f"seconds; {amount} more do not fit.",
                retry=max(1, math.ceil(reset - time())),
            )
        await self._limiter.hit(item, key.name, unit, cost=amount)

    async def headers(self, key: ApiKey) -> dict[str, str]:
        """RateLimit and RateLimit-Policy, as in the IETF's draft "RateLimit header fields"."""
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
            "requests": rate(key.requests or self._policy.requests),
            "memory": rate(key.memory_bytes or self._policy.memory_bytes),
        }
        return {unit: item for unit, item in rates.items() if item is not None}
