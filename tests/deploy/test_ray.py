"""Ray Serve: a real cluster of two nodes on this machine."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import httpx
import pytest
import yaml

from app.ray_app import ReplicaConfig, application, target_ongoing_requests
from tests.helpers.metrics import Key, cancelled_in, response_series, samples
from tests.helpers.paths import ROOT
from tests.helpers.ray_cluster import ServedByRay, served_by_ray
from tests.helpers.server import PATIENCE
from tests.helpers.tolerances import assert_same_look, assert_same_lut, assert_same_pixels
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.slow

BURST = 12  # two replicas admit 8; Ray sends each at most 8, and queues 4
PROBLEM = "application/problem+json"
RAY_REJECTS = "Request dropped due to backpressure"
DISCONNECTING = 8  # enough that each replica has some
CLIENTS = 4
IN_FLIGHT = ("clut_in_flight_bytes", ())
CUT = None  # the response had begun when its node was lost; it is shorter than its Content-Length
SUCCESSES = 20  # images enhanced before, and again after, a node is killed


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServedByRay]:
    """Two nodes with a replica each, which admits four requests."""
    with served_by_ray(
        {"CLUT_ADMISSION_MAX_REQUESTS": "4"}, min_replicas=2, max_replicas=2
    ) as running:
        yield running


def test_the_response_is_the_same(cluster: ServedByRay, client: httpx.Client, photos: Path) -> None:
    """An image has the pixels and the look that it has without Ray, within rounding."""
    photo = (photos / "lake.jpg").read_bytes()
    response = cluster.client.post("/enhance?format=png", content=photo)
    plain = client.post("/enhance?format=png", content=photo)
    assert (response.status_code, plain.status_code) == (200, 200)
    assert_same_pixels(response.content, plain.content)
    assert_same_look(response.headers["X-Look"], plain.headers["X-Look"])


def test_a_request_has_one_id(cluster: ServedByRay) -> None:
    """The proxy and the service both add a request ID; the response has one."""
    response = cluster.client.get("/models", headers={"X-Request-ID": "mine"})
    assert response.headers.get_list("X-Request-ID") == ["mine"]


def test_any_replica_rebuilds_a_look(cluster: ServedByRay, photos: Path) -> None:
    """The token that one replica gave is the same LUT on both."""
    photo = (photos / "otters.jpg").read_bytes()
    token = cluster.client.post("/enhance", content=photo).headers["X-Look"]
    files: list[str] = []

    def both_recalled() -> bool:
        # Each replica has a cache of its own; the LUT has to be the same. Twice, since with a proxy
        # that alternates, one replica would get every LUT and the other every read of the metrics.
        for _ in range(2):
            response = cluster.client.get(f"/lut/{token}")
            assert response.status_code == 200
            files.append(response.text)
        recalled = samples(cluster.client).get(response_series("GET", "/lut/{token}", 200), 0)
        # The other replica has answered the rest. The last response may not be counted yet.
        return 0 < recalled < len(files) - 1

    wait_until(both_recalled, PATIENCE)
    for file in files[1:]:
        assert_same_lut(file, files[0])


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/enhance", b"not a photo", 415, "not-an-image"),
        ("/enhance?strength=2", b"x", 400, "bad-parameter"),
        ("/enhance", b"", 400, "bad-body"),
    ],
)
def test_rejections_are_ours(
    cluster: ServedByRay, path: str, body: bytes, status: int, code: str
) -> None:
    """Bad requests are rejected with our problem documents."""
    response = cluster.client.post(path, content=body)
    assert response.status_code == status
    assert response.headers["Content-Type"] == PROBLEM
    assert response.json()["type"] == f"/problems#{code}"


def test_an_overloaded_replica_rejects(cluster: ServedByRay, photos: Path) -> None:
    """Requests over the limit receive our 503 with Retry-After."""
    photo = (photos / "lake.jpg").read_bytes()
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        with ThreadPoolExecutor(BURST) as pool:
            calls = [
                pool.submit(cluster.client.post, "/enhance", content=photo) for _ in range(BURST)
            ]
        responses = [call.result() for call in calls]
        rejected = [response for response in responses if response.status_code != 200]
        for response in rejected:
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) >= 1
        # Ray also rejects requests, without a document, while four others wait for a replica.
        ours = [response for response in rejected if not response.text.startswith(RAY_REJECTS)]
        for response in ours:
            assert response.headers["Content-Type"] == PROBLEM
            assert response.json()["type"] == "/problems#overloaded"
        if ours:
            return
    pytest.fail("no request was over the limit")


def test_a_body_too_large_is_rejected_before_it_is_sent(cluster: ServedByRay) -> None:
    """The Content-Length suffices for a 413."""
    with socket.create_connection(("127.0.0.1", cluster.port), timeout=30) as sock:
        sock.sendall(
            b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
        )
        assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_disconnect_reaches_the_replica(cluster: ServedByRay) -> None:
    """Clients that disconnect in the middle of a body are noticed behind the proxy as well."""
    with ExitStack() as clients:
        for _ in range(DISCONNECTING):
            sock = clients.enter_context(socket.create_connection(("127.0.0.1", cluster.port)))
            sock.sendall(
                b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n..."
            )
        # Before that, no replica may have received any of them.
        wait_until(lambda: _samples(cluster).get(IN_FLIGHT, 0) > 0, PATIENCE)

    def noticed() -> bool:
        seen = _samples(cluster)
        cancelled = seen.get(cancelled_in("receive"), 0)
        all_counted = 0 < cancelled == seen[response_series("POST", "/enhance", 499)]
        return all_counted and not seen[IN_FLIGHT]

    wait_until(noticed, PATIENCE)


def _samples(cluster: ServedByRay) -> dict[Key, float]:
    """Read the metrics of one of the replicas; none while Ray's queue is full."""
    try:
        return samples(cluster.client)
    except httpx.HTTPStatusError as error:
        if RAY_REJECTS not in error.response.text:
            raise
        return {}


def test_a_lost_node_is_survived(cluster: ServedByRay, photos: Path) -> None:
    """A node is killed while requests run: none hangs, and later ones succeed."""
    photo = (photos / "lake.jpg").read_bytes()
    lost = Event()
    statuses: list[int | None] = []

    def call() -> None:
        after = 0
        with httpx.Client(base_url=f"http://127.0.0.1:{cluster.port}", timeout=60) as client:
            while after < SUCCESSES / CLIENTS:
                killed = lost.is_set()
                try:
                    status = client.post("/enhance", content=photo).status_code
                except httpx.RemoteProtocolError:
                    status = CUT
                statuses.append(status)
                after += killed and status == 200

    with ThreadPoolExecutor(CLIENTS) as pool:
        calls = [pool.submit(call) for _ in range(CLIENTS)]
        wait_until(lambda: statuses.count(200) >= SUCCESSES, PATIENCE)
        cluster.kill_node()
        lost.set()
        for ended in calls:
            ended.result(timeout=120)
    # Requests on the node fail: with 500 from Ray's proxy, or cut off.
    assert set(statuses) <= {200, 500, 503, CUT}
    assert len(statuses) - statuses.count(200) <= 2 * CLIENTS


def test_the_configuration_is_of_this_application() -> None:
    """The YAML's arguments, settings and timeout are those that the code has."""
    configuration = yaml.safe_load((ROOT / "deploy/ray/serve.yaml").read_text())
    (described,) = configuration["applications"]
    assert described["import_path"] == f"{application.__module__}:{application.__name__}"
    assert ReplicaConfig(**described["args"])
    assert configuration["http_options"]["request_timeout_s"] > 60 + 30


def test_scaling_follows_the_queue() -> None:
    """At 70 % one core holds 0.7 / 0.3 requests, by M/M/1; more cores hold more, each fewer."""
    assert target_ongoing_requests(1) == pytest.approx(0.7 / 0.3)
    assert target_ongoing_requests(2) == pytest.approx(2 * 0.7 / (1 - 0.49))
    assert (
        target_ongoing_requests(8) / 8
        < target_ongoing_requests(4) / 4
        < target_ongoing_requests(2) / 2
    )
