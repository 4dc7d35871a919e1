"""Samples of /metrics."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, tuple[tuple[str, str], ...]]  # a sample's name and its labels


def samples(client: httpx.Client) -> dict[Key, float]:
    """Read the metrics as {(name, labels): value}.

    Raises:
        httpx.HTTPStatusError: the request was rejected.
    """
    text = client.get("/metrics").raise_for_status().text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def grown(before: dict[Key, float], after: dict[Key, float]) -> dict[Key, float]:
    """Return the growth of each metric."""
    return {key: after[key] - before.get(key, 0) for key in after}


def response_series(method: str, route: str, status: int) -> Key:
    """Return the key of the counter of responses."""
    labels = ("method", method), ("route", route), ("status", str(status))
    return "clut_requests_total", labels


def cancelled_in(stage: str) -> Key:
    """Return the key of the counter of requests whose client disconnected in a stage."""
    return "clut_cancelled_total", (("stage", stage),)
