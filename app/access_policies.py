"""Settings that decide who may send requests: API keys, quotas and cross-origin pages."""

from __future__ import annotations

import ipaddress
import logging
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from app.policies import BYTES_PER_PIXEL, Policy

log = logging.getLogger("clut")


def scale_number(text: str, factor: int) -> str:
    """Multiply the number that a text such as 600/minute begins with."""
    return re.sub(r"^\s*\d+", lambda number: str(int(number[0]) * factor), text)


def _check_rate(text: str) -> str:
    """Raise ValueError unless `text` is a rate such as 600/minute."""
    from limits import parse  # here: it takes 0.1 s to load, and few installations set a rate

    parse(text)
    return text


Rate = Annotated[str, AfterValidator(_check_rate)]


class Scope(StrEnum):
    """What an API key permits."""

    ENHANCE = "enhance"
    LUT = "lut"
    METRICS = "metrics"
    ADMIN = "admin"


class ApiKey(Policy):
    """One API key as it is stored: its holder, hash, permissions and own quotas."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    # Keys are 256 random bits, so a slow password hash would add nothing.
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: frozenset[Scope]
    requests: Rate | None = None
    memory_bytes: Rate | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_pixels(cls, values: Any) -> Any:
        """Accept the quota of version 0.1, in pixels, with a warning; until 0.3."""
        if isinstance(values, dict) and "pixels" in values:
            values = values.copy()
            pixels = values.pop("pixels")
            log.warning(
                "the key %r has a quota in pixels, which is deprecated; set memory_bytes instead, "
                "%d times as much",
                values.get("name"),
                BYTES_PER_PIXEL,
            )
            is_text = isinstance(pixels, str)
            values["memory_bytes"] = scale_number(pixels, BYTES_PER_PIXEL) if is_text else pixels
        return values


class AuthPolicy(Policy):
    """Authentication."""

    keys: list[ApiKey] = Field(
        default=[],
        description="API keys as JSON, a list as `clut-enhance keys new` writes it. It holds "
        "hashes alone, so it is no secret. With any key, requests need `Authorization: Bearer "
        "KEY`.",
    )
    file: Path | None = Field(
        default=None,
        description="File with such a list, read again when it changes: keys are added and "
        "revoked without a restart. While it is damaged, the keys that were last read stay valid.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="True serves an address other than loopback without API keys: every client "
        "that reaches the port is served. Only for networks or gateways that authenticate clients.",
    )


class QuotaPolicy(Policy):
    """Quotas of API keys that have none of their own."""

    requests: Rate | None = Field(
        default=None,
        description="Requests of each API key, such as 600/minute; further ones are rejected with "
        "429. Counted separately in each process. None sets no limit.",
    )
    memory_bytes: Rate | None = Field(
        default=None,
        description="Bytes of memory that requests of each API key are charged, such as "
        "100000000000/hour; charged before an image is decoded, by its size and format: 18 bytes "
        "for each pixel of a JPEG. None sets no limit.",
    )


class CorsPolicy(Policy):
    """Cross-origin resource sharing."""

    origins: list[str] = Field(
        default=[],
        description='Origins whose pages may call from a browser, as JSON: ["https://a.example"]; '
        '["*"] allows every page. Empty allows none.',
    )


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to an address or name."""
    return ipaddress.ip_address(host).is_loopback if is_address(host) else host == "localhost"
