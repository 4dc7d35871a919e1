"""Who is asking: the key of a request, its scope and its quota."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from app.errors import Forbidden, Unauthorised
from app.policies import ApiKey
from app.web.api_keys import ApiKeyStore
from app.web.rate_limits import RateLimits

METRICS_PORT_PATHS = frozenset(
    {"/metrics", "/livez", "/readyz"}
)  # all that the port of metrics answers

_bearer = HTTPBearer(auto_error=False, description="An API key, where the server asks for one.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


class Principal:
    """Whoever sent a request: the holder of a key, or anybody where none is asked for."""

    def __init__(self, request: Request, key: ApiKey | None, quotas: RateLimits) -> None:
        self.key = key
        self._state = request.state
        self._quotas = quotas

    async def charge(self, unit: str, amount: int) -> None:
        """Charges the key, if any, for "requests" or "memory"; the answer says what is left.

        Raises:
            QuotaExceeded: the quota is used up.
        """
        if self.key is None:
            return
        try:
            await self._quotas.charge(self.key, unit, amount)
        finally:
            self._state.quota_headers = await self._quotas.headers(self.key)

    async def charge_memory(self, size: int) -> None:
        """Charge the bytes of memory that the request is about to take."""
        await self.charge("memory", size)


class Authenticator:
    """Knows the keys and their quotas, and which port is for metrics alone."""

    def __init__(self, keys: ApiKeyStore, quotas: RateLimits, metrics_port: int | None) -> None:
        self.keys = keys
        self._quotas = quotas
        self._metrics_port = metrics_port

    async def caller(self, request: Request, credentials: Credentials, *scopes: str) -> Principal:
        """Lets a request in.

        Raises:
            Unauthorised: it needs a key, and has none that is valid.
            Forbidden: its key is for something else.
            QuotaExceeded: its key has asked for too much.
        """
        if not self.keys.required and "admin" in scopes:
            raise Forbidden("There are no API keys here, so nobody may do this over HTTP.")
        if not self.keys.required or self._at_metrics_port(request):
            return Principal(request, None, self._quotas)
        key = self.keys.find(credentials.credentials) if credentials else None
        if key is None:
            raise Unauthorised("Send a valid API key, as `Authorization: Bearer KEY`.")
        request.state.key_name = key.name
        caller = Principal(request, key, self._quotas)
        await caller.charge("requests", 1)
        if scopes and not key.scopes.intersection(scopes):
            raise Forbidden(f"The key {key.name!r} does not open this.", needed=list(scopes))
        return caller

    def check_port(self, request: Request) -> None:
        """Raises HTTPException, 404, for what this port is not for."""
        own = request.scope["path"] in METRICS_PORT_PATHS
        metrics = request.scope["path"] == "/metrics"
        if self._metrics_port is None:
            return
        if (not own) if self._at_metrics_port(request) else metrics:
            raise HTTPException(404)

    def _at_metrics_port(self, request: Request) -> bool:
        server = request.scope.get("server")
        return server is not None and server[1] == self._metrics_port


def _access(request: Request) -> Authenticator:
    access = request.state.access
    assert isinstance(access, Authenticator)  # noqa: S101 -- what the lifespan gives
    return access


async def authenticate(
    request: Request, security: SecurityScopes, credentials: Credentials
) -> Principal:
    """Lets a request in; any of the route's scopes will do, and without scopes any key."""
    return await _access(request).caller(request, credentials, *security.scopes)


async def check_port(request: Request) -> None:
    """Nothing but metrics and probes on the port of metrics, and no metrics elsewhere."""
    _access(request).check_port(request)


RequireEnhance = Annotated[Principal, Security(authenticate, scopes=["enhance"])]
RequireLutScope = Annotated[Principal, Security(authenticate, scopes=["lut"])]
RequireAnyKey = Annotated[Principal, Security(authenticate)]
RequireMetricsScope = Annotated[Principal, Security(authenticate, scopes=["metrics"])]
RequireAdmin = Annotated[Principal, Security(authenticate, scopes=["admin"])]
