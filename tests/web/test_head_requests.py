"""HEAD: the response to GET without its body."""

from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize(
    "path", ["/models", "/problems", "/livez", "/readyz", "/docs", "/openapi.json", "/"]
)
def test_head_is_get_without_its_body(client: httpx.Client, path: str) -> None:
    """Status and headers are those of GET, Content-Length included."""
    responses = client.get(path), client.head(path)
    statuses = [response.status_code for response in responses]
    assert statuses[0] == statuses[1] < 400
    assert responses[1].content == b""
    own = {"date", "x-request-id", "server-timing"}
    headers = [{k: v for k, v in it.headers.items() if k not in own} for it in responses]
    assert headers[0] == headers[1]


def test_head_of_a_lut(client: httpx.Client, otters: bytes) -> None:
    """HEAD returns whether a token is valid, and how large its file is."""
    token = client.post("/lut", content=otters).headers["x-look"]
    file = client.get(f"/lut/{token}")
    head = client.head(f"/lut/{token}")
    assert head.status_code == 200
    assert head.headers["etag"] == file.headers["etag"]
    assert head.headers["content-length"] == file.headers["content-length"]
    assert client.head("/lut/nothing").status_code == 400


def test_endpoints_without_get_have_no_head(client: httpx.Client) -> None:
    """405 names the allowed methods."""
    rejected = client.head("/enhance")
    assert (rejected.status_code, rejected.headers["allow"]) == (405, "POST")


def test_head_requests_are_counted(client: httpx.Client) -> None:
    """They are counted by route and method, without the bytes that were not sent."""
    before = client.get("/metrics").text
    client.head("/models")
    after = client.get("/metrics").text
    heads = 'clut_requests_total{method="HEAD",route="/models",status="200"}'
    assert value_of(after, heads) == value_of(before, heads) + 1
    sent = value_of(after, "clut_sent_bytes_total") - value_of(before, "clut_sent_bytes_total")
    assert sent == len(before)


def value_of(page: str, series: str) -> float:
    """Return the value of a series, or 0 where it does not exist."""
    values = [line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(series + " ")]
    return float(values[0]) if values else 0.0
