"""What every answer says to browsers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

# Headers of an answer that a page of another origin may read, where it is let in at all.
EXPOSED = (
    "Content-Disposition",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Look",
    "X-Lut-Error",
    "X-Model",
    "X-Request-ID",
)


class CorsPolicy(BaseModel):
    """Which pages of other origins may call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origins: list[str] = Field(
        default=[],
        description='Origins whose pages may call from a browser, as JSON: ["https://a.example"]; '
        '["*"] is every page that somebody here may have open. Empty is none.',
    )


class Shield:
    """Adds the headers that make browsers careful, where an answer has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and an answer back."""

        async def send_shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_shielded)
