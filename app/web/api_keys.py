"""API keys and their permissions. Keys are never stored, only their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.access_policies import ApiKey, AuthPolicy, Scope, is_loopback
from app.errors import describe_first

log = logging.getLogger("clut")

_KEYS = TypeAdapter(list[ApiKey])


class ApiKeyStore:
    """The valid keys."""

    def __init__(self, policy: AuthPolicy) -> None:
        """Read the keys.

        Raises:
            OSError, ValueError: the file of keys cannot be read.
        """
        self._given = policy.keys
        self._file = policy.file
        self._filed: list[ApiKey] = []
        self._seen: tuple[int, ...] = ()
        if self._file is not None:
            self._filed = read_keys(self._file)
            self._seen = _stamp(self._file)

    @property
    def required(self) -> bool:
        """Whether requests need a key; with an empty file of keys, no request is authorised."""
        return bool(self._given) or self._file is not None

    def find(self, presented: str) -> ApiKey | None:
        """Return the key with this secret, or None, in a time independent of the secret."""
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
            # The message names the place in the file; a traceback would add nothing.
            log.error("cannot read the file of keys; the previous keys stay valid: %s", error)  # noqa: TRY400
        else:
            log.info("read %d keys from %s", len(self._filed), file)


def read_keys(file: Path) -> list[ApiKey]:
    """Read a file of keys.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not a list of keys; the message names the first error.
    """
    try:
        return _KEYS.validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{file}: {describe_first(error)}") from None


def new_key(name: str, scopes: frozenset[Scope]) -> tuple[str, ApiKey]:
    """Generate a key; return the secret for its holder, and what is stored."""
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
    """Return what changes whenever the file does; empty while it does not exist."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
