"""HEAD: what GET would answer, without the body."""

from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize(
    "path", ["/models", "/problems", "/livez", "/readyz", "/docs", "/openapi.json", "/"]
)
def test_head_is_get_without_its_body(client: httpx.Client, path: str) -> None:
    """The status and the headers are the same, the length of what is left out among them."""
    answers = client.get(path), client.head(path)
    statuses = [answer.status_code for answer in answers]
    assert statuses[0] == statuses[1] < 400
    assert answers[1].content == b""
    own = {"date", "x-request-id", "server-timing"}
    headers = [{k: v for k, v in answer.headers.items() if k not in own} for answer in answers]
    assert headers[0] == headers[1]


def test_a_look_is_asked_for_by_head(client: httpx.Client, otters: bytes) -> None:
    """Whether a token is good, and how large its file is, without the file."""
    token = client.post("/lut", content=otters).headers["x-look"]
    file = client.get(f"/lut/{token}")
    head = client.head(f"/lut/{token}")
    assert head.status_code == 200
    assert head.headers["etag"] == file.headers["etag"]
    assert head.headers["content-length"] == file.headers["content-length"]
    assert client.head("/lut/nothing").status_code == 400


def test_what_only_takes_photos_has_no_head(client: httpx.Client) -> None:
    """405 names the methods that there are."""
    refused = client.head("/enhance")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_heads_are_counted_as_what_they_are(client: httpx.Client) -> None:
    """By their route and method, and without the bytes that were not sent."""
    before = client.get("/metrics").text
    client.head("/models")
    after = client.get("/metrics").text
    heads = 'clut_requests_total{method="HEAD",route="/models",status="200"}'
    assert figure(after, heads) == figure(before, heads) + 1
    sent = figure(after, "clut_sent_bytes_total") - figure(before, "clut_sent_bytes_total")
    assert sent == len(before)


def figure(page: str, series: str) -> float:
    """The value of a series; 0 where there is none."""
    values = [line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(series + " ")]
    return float(values[0]) if values else 0.0
