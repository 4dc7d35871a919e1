"""Who may send requests: the settings of API keys, quotas and origins, and the file of keys.

Keys are never stored, only their SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import os
import re
import secrets
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from app.errors import describe_first
from app.policies import BYTES_PER_PIXEL, Policy
from app.regular_files import read_regular_file

log = logging.getLogger("clut")


def scale_number(text: str, factor: int) -> str:
    """Multiply the number that a text such as 600/minute begins with."""
    return re.sub(r"^\s*\d+", lambda number: str(int(number[0]) * factor), text)


def _check_rate(text: str) -> str:
    """Raise ValueError unless `text` is one rate such as 600/minute."""
    from limits import parse_many  # here: it takes 0.1 s to load, and few installations set a rate

    if len(parse_many(text)) > 1:
        raise ValueError("it is not one amount in one period, such as 600/minute")
    return text


Rate = Annotated[str, AfterValidator(_check_rate)]


class Scope(StrEnum):
    """A permission of an API key."""

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
        "revoked without a restart. While it is damaged, or larger than 16 MiB, the keys that were "
        "last read stay valid.",
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


_KEYS = TypeAdapter(list[ApiKey])
MAX_FILE_BYTES = 1 << 24


class ApiKeyStore:
    """The valid keys."""

    def __init__(self, policy: AuthPolicy) -> None:
        """Read the keys.

        Raises:
            OSError, ValueError: the file of keys cannot be read.
        """
        self._given = policy.keys
        self._file = policy.file
        self._seen: tuple[int, ...] = ()
        filed: list[ApiKey] = []
        if self._file is not None:
            self._seen = _stamp(self._file)
            filed = read_keys(self._file)
        self._by_hash = self._index(filed)
        self._refreshing = asyncio.Lock()

    @property
    def required(self) -> bool:
        """Whether requests need a key; with an empty file of keys, no request is authorised."""
        return bool(self._given) or self._file is not None

    async def find(self, presented: str) -> ApiKey | None:
        """Return the key with this secret, or None.

        The time depends on the SHA-256 of the secret alone, which nobody can choose: it helps
        nobody to guess one.
        """
        if self._file is not None:
            async with self._refreshing:  # no request is decided by keys that are being replaced
                await self._refresh(self._file)
        return self._by_hash.get(hashlib.sha256(presented.encode()).hexdigest())

    async def _refresh(self, file: Path) -> None:
        stamp = _stamp(file)
        if stamp == self._seen:
            return
        try:
            # On a thread, since thousands of keys take longer than the event loop may be held.
            filed = await asyncio.to_thread(read_keys, file)
        except (OSError, ValueError) as error:
            # The message names the place in the file; a traceback would add nothing.
            log.error("cannot read the file of keys; the previous keys stay valid: %s", error)  # noqa: TRY400
        else:
            self._by_hash = self._index(filed)
            log.info("read %d keys from %s", len(filed), file)
        self._seen = stamp

    def _index(self, filed: list[ApiKey]) -> dict[str, ApiKey]:
        return {key.sha256: key for key in [*self._given, *filed]}


def read_keys(file: Path) -> list[ApiKey]:
    """Read a file of keys.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not a list of keys; the message names the first error.
    """
    try:
        return _KEYS.validate_json(read_regular_file(file, MAX_FILE_BYTES))
    except ValidationError as error:
        raise ValueError(f"{file}: {describe_first(error)}") from None


def new_key(name: str, scopes: frozenset[Scope]) -> tuple[str, ApiKey]:
    """Generate a key; return the secret for its holder, and the entry to store."""
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return secret, ApiKey(name=name, sha256=digest, scopes=scopes)


def dump_keys(keys: list[ApiKey]) -> str:
    """Return the keys as a list in JSON."""
    return _KEYS.dump_json(keys, exclude_none=True).decode()


def write_keys(file: Path, keys: list[ApiKey]) -> None:
    """Replace a file of keys atomically."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as scratch:
        scratch.write(dump_keys(keys) + "\n")
    if file.exists():  # those who could read it still can
        shutil.copymode(file, scratch.name)
        os.chown(scratch.name, file.stat().st_uid, file.stat().st_gid)
    Path(scratch.name).replace(file)


def check_exposure(host: str, keys: ApiKeyStore, policy: AuthPolicy) -> None:
    """Check that a service without API keys is not exposed to other machines by accident.

    Raises:
        ValueError: other machines can connect, no key is required, and the policy does not allow
            anonymous requests.
    """
    if keys.required or is_loopback(host):
        return
    if not policy.allow_anonymous:
        raise ValueError(
            f"CLUT_HTTP_HOST={host} accepts connections from other machines, and there are no API "
            "keys. Generate some with `clut-enhance keys new` and set CLUT_AUTH_FILE; or, behind a "
            "gateway that authenticates clients, set CLUT_AUTH_ALLOW_ANONYMOUS=true"
        )
    log.warning("serving on %s without API keys: every client that can connect is served", host)


def _stamp(file: Path) -> tuple[int, ...]:
    """Return time, size and inode of a file, by which changes show; empty if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
