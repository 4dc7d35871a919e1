"""Checks of a request's head before it is routed: Host, cross-site origin, number of parameters."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access import is_address, is_loopback
from app.errors import BadParameter, CrossSiteRequest, MisdirectedRequest, Problem
from app.web.metrics import Metrics
from app.web.problems import problem_response

MAX_PARAMETERS = 64  # of a query: each unknown one costs time and a sentence in the response

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Browsers send these content types to other sites without a preflight (the Fetch standard).
_SAFELISTED = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


class RequestChecks:
    """Reject a request by its head alone, in ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        allowed_hosts: Collection[str],
        origins: Collection[str],
        metrics: Metrics,
    ) -> None:
        """Check requests.

        Args:
            app: receives the requests that pass.
            host: the address that the server listens on.
            allowed_hosts: patterns of host names that are served.
            origins: origins that CORS allows.
            metrics: counts the rejected requests.
        """
        self._app = app
        self._origins = origins
        self._metrics = metrics
        # Elsewhere than on loopback, any name may be the right one unless names are configured.
        any_name = not allowed_hosts and not is_loopback(host)
        self._hosts = ("*",) if any_name else ("localhost", host, *allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request that passes."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except Problem as problem:
                self._metrics.observe_rejected(problem.code)
                await problem_response(problem, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        for host in headers.getlist("host"):
            check_host(host, self._hosts)
        if scope["method"] not in _SAFE_METHODS:
            check_site(headers, self._origins)
        if scope["query_string"].count(b"&") >= MAX_PARAMETERS:
            raise BadParameter(f"The query has more than {MAX_PARAMETERS} parameters.")


def check_host(host: str, allowed: Collection[str]) -> None:
    """Check a Host header against DNS rebinding, which makes a name point to this server.

    An address cannot be rebound, so that addresses are always served.

    Raises:
        MisdirectedRequest: no pattern of `allowed` matches the name.
    """
    name = _name_of(host)
    if is_address(name) or any(fnmatchcase(name, pattern.lower()) for pattern in allowed):
        return
    raise MisdirectedRequest(
        f"The host {name[:100]!r} is not served here. The operator can add it to "
        "CLUT_HTTP_ALLOWED_HOSTS."
    )


def check_site(headers: Headers, origins: Collection[str]) -> None:
    """Check a request that changes or costs something, and that a page of any site could send.

    Browsers send a CORS preflight before other requests to another site.

    Raises:
        CrossSiteRequest: it comes from a page of another origin, which CORS does not allow.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if (origin is None and site is None) or site in ("same-origin", "none"):
        return
    if origin is not None and ("*" in origins or origin in origins):
        return
    # As browsers write it: a URL without a path, in which nothing has to be parsed.
    if site is None and origin is not None and origin.partition("://")[2] == headers.get("host"):
        return
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "authorization" in headers or (content_type and content_type not in _SAFELISTED):
        return
    raise CrossSiteRequest("Add the page's origin to CLUT_CORS_ORIGINS to allow its requests.")


def _name_of(host: str) -> str:
    """Return a Host header without its port, and without the brackets of an IPv6 address."""
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        return address if not port or port.startswith(":") else host.lower()
    return host.partition(":")[0].lower().removesuffix(".")
