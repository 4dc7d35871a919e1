"""What the application hands to its routes."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from app.serving.enhancer import Enhancer
from app.web.metrics import Metrics


class HttpPolicy(BaseModel):
    """How the service is reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. 0.0.0.0 lets other machines in: there is no "
        "authentication, so put a gateway in front.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 lets the system choose.")
    max_body_bytes: int = Field(
        default=64 * 2**20,
        ge=1,
        description="Most bytes of a request's body, counted as they arrive; more are answered "
        "413. A body is held in memory from its first byte until it is answered.",
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0.0,
        description="Seconds that the server goes on listening after SIGTERM while /readyz "
        "already says 503, so that load balancers can turn away. Set 5 to 15 behind one.",
    )
    stop_seconds: int = Field(
        default=35,
        ge=0,
        description="Seconds that requests under way get once the server has stopped listening; "
        "then they are cut off. Keep it above the deadline, and what kills the process above it.",
    )
    access_log: bool = Field(
        default=True,
        description="A line on standard output for every request; the metrics count requests "
        "without it.",
    )


class State(TypedDict):
    """The lifespan's state, a copy of which every request carries."""

    enhancer: Enhancer
    metrics: Metrics
    http: HttpPolicy


def _state(request: Request) -> State:
    return cast("State", request.state._state)


def _enhancer(request: Request) -> Enhancer:
    return _state(request)["enhancer"]


def _metrics(request: Request) -> Metrics:
    return _state(request)["metrics"]


def _http(request: Request) -> HttpPolicy:
    return _state(request)["http"]


TheEnhancer = Annotated[Enhancer, Depends(_enhancer)]
TheMetrics = Annotated[Metrics, Depends(_metrics)]
TheHttpPolicy = Annotated[HttpPolicy, Depends(_http)]
