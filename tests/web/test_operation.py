"""The endpoints of operators: probes, metrics, models, the documents, draining."""

from __future__ import annotations

import signal

import httpx

from app.settings import Settings
from tests.helpers.files import saved, scene
from tests.helpers.metrics import cancelled_in, grown, response_series, samples
from tests.helpers.raw import connect, post
from tests.helpers.server import PATIENCE, Server, serving
from tests.helpers.waiting import wait_until


def test_probes(client: httpx.Client) -> None:
    """A healthy and warm server passes both probes."""
    assert client.get("/livez").json() == {"alive": True}
    assert client.get("/readyz").json() == {"ready": True}


def test_models(client: httpx.Client) -> None:
    """The listing names the source and the licence of the weights."""
    listing = client.get("/models").json()
    (model,) = (item for item in listing["models"] if item["name"] == "default")
    assert listing["default"] == "default@2"
    assert (model["architecture"], model["lut_size"], model["shaper"]) == ("clutnet", 33, False)
    assert model["licence"] == "Apache-2.0"
    assert len(model["fingerprint"]) == 16
    assert model["source"]


def test_metrics_count_what_happened(client: httpx.Client, otters: bytes) -> None:
    """After an image, a rejection and an unknown path every metric has the right value."""
    before = samples(client)
    client.post("/enhance", content=otters)
    client.post("/enhance", content=b"not a photo")
    client.get("/no/such/path")
    after = samples(client)
    change = grown(before, after)

    assert change[response_series("POST", "/enhance", 200)] == 1
    assert change[response_series("POST", "/enhance", 415)] == 1
    assert change[response_series("GET", "unmatched", 404)] == 1
    for stage in ("decode", "predict", "apply", "encode"):
        assert (
            change["clut_stage_duration_seconds_count", (("model", "default@2"), ("stage", stage))]
            == 1
        )
    assert change["clut_queue_wait_seconds_count", (("model", "default@2"),)] == 1
    assert change["clut_rejected_total", (("reason", "not-an-image"),)] == 1
    assert change["clut_received_bytes_total", ()] >= len(otters)
    assert change["clut_sent_bytes_total", ()] > 10_000
    assert change["clut_batch_size_count", (("model", "default@2"),)] == 1
    assert after["clut_ready", ()] == after["clut_alive", ()] == 1
    assert after["clut_batch_failures_total", (("model", "default@2"),)] == 0
    memory = after["process_resident_memory_bytes", ()]
    assert memory < after["clut_memory_limit_bytes", ()] < 2**50
    assert after["clut_in_flight_requests", ()] == after["clut_reserved_memory_bytes", ()] == 0
    assert after["clut_in_flight_bytes", ()] == 0
    assert after["clut_queue_depth", (("model", "default@2"),)] == 0
    defaults = Settings()
    assert after["clut_queue_capacity", ()] == defaults.admission.max_requests
    assert after["clut_memory_budget_bytes", ()] == defaults.admission.memory_bytes
    assert after["clut_byte_budget", ()] == defaults.upload.budget_bytes
    assert any(name == "clut_model_info" for name, _ in after)
    assert any(name == "process_resident_memory_bytes" for name, _ in after)


def test_sandbox_calls_are_counted(client: httpx.Client) -> None:
    """By outcome; the memory of the processes is part of the service's memory."""
    before = samples(client)
    for outcome in ("ok", "rejected", "timeout", "crashed", "retried", "killed"):
        assert ("clut_sandbox_calls_total", (("outcome", outcome),)) in before
    assert client.post("/enhance", content=saved(scene(), "PNG")).status_code == 200
    assert client.post("/enhance", content=saved(scene(), "PNG")[:-800]).status_code == 422
    after = samples(client)
    change = grown(before, after)
    assert change["clut_sandbox_calls_total", (("outcome", "ok"),)] >= 3  # headers, and pixels
    assert change["clut_sandbox_calls_total", (("outcome", "rejected"),)] == 1
    assert change["clut_sandbox_seconds_total", ()] > 0
    assert after["clut_sandbox_processes", ()] >= 1
    assert 1 << 20 < after["clut_sandbox_memory_bytes", ()] < after["clut_memory_bytes", ()]


def test_counters_begin_at_zero(client: httpx.Client) -> None:
    """Prometheus sees no increase where a series begins at its first count."""
    series = samples(client)
    for path in ("/enhance", "/lut"):
        for status in (200, 422, 499, 500, 503):
            assert response_series("POST", path, status) in series
    assert ("clut_rejected_total", (("reason", "overloaded"),)) in series
    assert cancelled_in("predict") in series


def test_disconnects_are_counted(server: Server, otters: bytes) -> None:
    """A client that disconnects before its body has arrived is counted, and disturbs no other."""
    before = samples(server.client)
    with connect(server.port) as connection:
        connection.sendall(post("/enhance", otters)[: -len(otters) // 2])
    key = cancelled_in("receive")
    wait_until(lambda: samples(server.client).get(key, 0) == before.get(key, 0) + 1)
    assert server.client.post("/enhance", content=otters).status_code == 200


def test_the_documents(client: httpx.Client) -> None:
    """/docs needs nothing from other hosts, and the OpenAPI document has the endpoints."""
    page = client.get("/docs").text
    assert "http://" not in page.replace(str(client.base_url), "")
    assert "https://" not in page
    script = page.split('src="')[1].split('"')[0]
    assert client.get(script).status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/enhance", "/lut", "/lut/{token}", "/models", "/metrics"} <= set(paths)
    assert "multipart/form-data" in paths["/enhance"]["post"]["requestBody"]["content"]


def test_metrics_have_no_creation_times(client: httpx.Client) -> None:
    """They would double the page."""
    assert not [name for name, _ in samples(client) if name.endswith("_created")]


def test_draining(otters: bytes) -> None:
    """After SIGTERM /readyz returns 503, requests are served for a while; the exit status is 0."""
    with serving(HTTP_DRAIN_SECONDS=5) as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.client.get("/readyz").status_code == 503)
        assert server.client.get("/livez").status_code == 200
        assert server.client.post("/enhance", content=otters).status_code == 200
        assert server.process.wait(PATIENCE) == 0
