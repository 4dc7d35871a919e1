"""API keys: who may do what. Keys themselves are never stored, only their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from limits import RateLimitItem, parse
from pydantic import TypeAdapter, ValidationError

from app.policies import ApiKey, AuthPolicy, Scope

log = logging.getLogger("clut")


_KEYS = TypeAdapter(list[ApiKey])


class ApiKeyStore:
    """The keys that are valid now."""

    def __init__(self, policy: AuthPolicy) -> None:
        """Raises OSError or ValueError if the file of keys cannot be read."""
        self._given = policy.keys
        self._file = policy.file
        self._filed: list[ApiKey] = []
        self._seen: tuple[int, ...] = ()
        if self._file is not None:
            self._filed = read_keys(self._file)
            self._seen = _stamp(self._file)

    @property
    def required(self) -> bool:
        """Whether requests need a key at all; an empty file of keys keeps everybody out."""
        return bool(self._given) or self._file is not None

    def find(self, presented: str) -> ApiKey | None:
        """The key that was presented, or None; takes as long for any text as for any other."""
        digest = hashlib.sha256(presented.encode()).hexdigest()
        found = None
        for key in self._current():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _current(self) -> list[ApiKey]:
        if self._file is not None:
            self._refresh(self._file)
        return [*self._given, *self._filed]

    def _refresh(self, file: Path) -> None:
        stamp = _stamp(file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._filed = read_keys(file)
        except (OSError, ValueError) as error:
            # A line says it all: an operator's slip needs no traceback.
            log.error("the file of keys cannot be read; those it last held stay: %s", error)  # noqa: TRY400
        else:
            log.info("%d keys read again from %s", len(self._filed), file)


def read_keys(file: Path) -> list[ApiKey]:
    """Reads a file of keys.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not a list of keys; the first complaint is named.
    """
    try:
        return _KEYS.validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{file}: {place}: {first['msg']}") from None


def new_key(name: str, scopes: frozenset[Scope]) -> tuple[str, ApiKey]:
    """Makes a key: what its holder gets, and what is stored."""
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return secret, ApiKey(name=name, sha256=digest, scopes=scopes)


def dump_keys(keys: list[ApiKey]) -> str:
    """The keys as a list in JSON."""
    return _KEYS.dump_json(keys, exclude_none=True).decode()


def write_keys(file: Path, keys: list[ApiKey]) -> None:
    """Replaces a file of keys in one step."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as scratch:
        scratch.write(dump_keys(keys) + "\n")
    if file.exists():  # whoever could read it still can
        shutil.copymode(file, scratch.name)
        os.chown(scratch.name, file.stat().st_uid, file.stat().st_gid)
    Path(scratch.name).replace(file)


def check_exposure(host: str, keys: ApiKeyStore, policy: AuthPolicy) -> None:
    """Sees to it that nobody opens the service to other machines without noticing.

    Raises:
        ValueError: others reach this address, no key is asked for, and nobody said that this is
            meant.
    """
    if keys.required or _is_loopback(host):
        return
    if not policy.allow_anonymous:
        raise ValueError(
            f"CLUT_HTTP_HOST={host} lets other machines in, and there are no API keys. Make some "
            "with `clut-enhance keys new` and set CLUT_AUTH_FILE; or, behind a gateway that keeps "
            "strangers out, set CLUT_AUTH_ALLOW_ANONYMOUS=true"
        )
    log.warning("serving on %s without API keys: whoever reaches it is let in", host)


def rate(text: str | None) -> RateLimitItem | None:
    """A rate such as 600/minute."""
    return None if text is None else parse(text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _stamp(file: Path) -> tuple[int, ...]:
    """Changes whenever the file does; empty while it is not there."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
