"""What operators look at: probes, metrics, models, the documents, and the end of the process."""

from __future__ import annotations

import signal
import socket
import time

import httpx

from app.settings import Settings
from tests.helpers.metrics import cancelled_in, grown, response_series, samples
from tests.helpers.server import PATIENCE, Server, serving


def test_probes(client: httpx.Client) -> None:
    """A sound and warm server says so."""
    assert client.get("/livez").json() == {"alive": True}
    assert client.get("/readyz").json() == {"ready": True}


def test_models(client: httpx.Client) -> None:
    """The listing tells where the weights come from and under which licence."""
    listing = client.get("/models").json()
    (model,) = (item for item in listing["models"] if item["name"] == "default")
    assert listing["default"] == "default@1"
    assert (model["architecture"], model["lut_size"], model["shaper"]) == ("clutnet", 33, False)
    assert model["licence"] == "Apache-2.0"
    assert len(model["fingerprint"]) == 16
    assert model["source"]


def test_metrics_count_what_happened(client: httpx.Client, otters: bytes) -> None:
    """After a photo, a refusal and an unknown path every metric has moved as it should."""
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
            change["clut_stage_duration_seconds_count", (("model", "default@1"), ("stage", stage))]
            == 1
        )
    assert change["clut_queue_wait_seconds_count", (("model", "default@1"),)] == 1
    assert change["clut_rejected_total", (("reason", "not-an-image"),)] == 1
    assert change["clut_received_bytes_total", ()] >= len(otters)
    assert change["clut_sent_bytes_total", ()] > 10_000
    assert change["clut_batch_size_count", (("model", "default@1"),)] == 1
    assert after["clut_ready", ()] == after["clut_alive", ()] == 1
    assert after["clut_batch_failures_total", (("model", "default@1"),)] == 0
    memory = after["process_resident_memory_bytes", ()]
    assert memory < after["clut_memory_limit_bytes", ()] < 2**50
    assert after["clut_in_flight_requests", ()] == after["clut_reserved_memory_bytes", ()] == 0
    assert after["clut_in_flight_bytes", ()] == 0
    assert after["clut_queue_depth", (("model", "default@1"),)] == 0
    defaults = Settings()
    assert after["clut_queue_capacity", ()] == defaults.admission.max_requests
    assert after["clut_memory_budget_bytes", ()] == defaults.admission.memory_bytes
    assert after["clut_byte_budget", ()] == defaults.upload.budget_bytes
    assert any(name == "clut_model_info" for name, _ in after)
    assert any(name == "process_resident_memory_bytes" for name, _ in after)


def test_a_departed_caller_is_counted(server: Server, otters: bytes) -> None:
    """Who hangs up before the whole photo has arrived is counted, and disturbs nobody."""
    before = samples(server.client)
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        head = f"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: {len(otters)}\r\n\r\n"
        caller.sendall(head.encode() + otters[:1000])
    key = cancelled_in("receive")
    give_up = time.monotonic() + PATIENCE
    while samples(server.client).get(key, 0) == before.get(key, 0):
        assert time.monotonic() < give_up
    assert server.client.post("/enhance", content=otters).status_code == 200


def test_the_documents(client: httpx.Client) -> None:
    """/docs needs nothing from other hosts, and the OpenAPI document knows the endpoints."""
    page = client.get("/docs").text
    assert "http://" not in page.replace(str(client.base_url), "")
    assert "https://" not in page
    script = page.split('src="')[1].split('"')[0]
    assert client.get(script).status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/enhance", "/lut", "/lut/{token}", "/models", "/metrics"} <= set(paths)
    assert "multipart/form-data" in paths["/enhance"]["post"]["requestBody"]["content"]


def test_no_time_of_birth_in_the_metrics(client: httpx.Client) -> None:
    """When each series began is of no use here, and would double the page."""
    assert not [name for name, _ in samples(client) if name.endswith("_created")]


def test_draining(otters: bytes) -> None:
    """After SIGTERM the server says that it leaves, still answers for a while, and ends well."""
    with serving(HTTP_DRAIN_SECONDS=1.5) as server:
        server.process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + 1.0
        while server.client.get("/readyz").status_code == 200:
            assert time.monotonic() < give_up
        assert server.client.get("/livez").status_code == 200
        assert server.client.post("/enhance", content=otters).status_code == 200
        assert server.process.wait(PATIENCE) == 0
