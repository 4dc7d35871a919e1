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
from tests.helpers.metrics import cancelled_in, response_series, samples
from tests.helpers.paths import ROOT
from tests.helpers.ray_cluster import ServedByRay, served_by_ray
from tests.helpers.server import PATIENCE
from tests.helpers.tolerances import assert_same_look, assert_same_lut, assert_same_pixels

pytestmark = pytest.mark.slow

CROWD = 12  # two replicas let 8 in; Ray has room for 8 in each and 4 in its queue
PROBLEM = "application/problem+json"
RAY_REFUSES = "Request dropped due to backpressure"
DEPARTING = 8  # enough that each replica has some
CALLERS = 4
CUT = None  # the answer had begun when its node was lost: its length says that it is not whole
ANSWERED = 20  # photographs before, and again after, a node is killed


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServedByRay]:
    """Two nodes with a replica each, which lets four requests in."""
    with served_by_ray(
        {"CLUT_ADMISSION_MAX_REQUESTS": "4"}, min_replicas=2, max_replicas=2
    ) as running:
        yield running


def test_the_answer_is_the_same(cluster: ServedByRay, client: httpx.Client, photos: Path) -> None:
    """A photo gets the pixels and the look that it gets without Ray, within rounding."""
    photo = (photos / "lake.jpg").read_bytes()
    answer = cluster.client.post("/enhance?format=png", content=photo)
    plain = client.post("/enhance?format=png", content=photo)
    assert (answer.status_code, plain.status_code) == (200, 200)
    assert_same_pixels(answer.content, plain.content)
    assert_same_look(answer.headers["X-Look"], plain.headers["X-Look"])


def test_a_request_has_one_name(cluster: ServedByRay) -> None:
    """The proxy and the service both name a request; the caller sees the name once."""
    answer = cluster.client.get("/models", headers={"X-Request-ID": "mine"})
    assert answer.headers.get_list("X-Request-ID") == ["mine"]


def test_any_replica_recalls_a_look(cluster: ServedByRay, photos: Path) -> None:
    """The token that one replica gave is the same LUT on both."""
    photo = (photos / "otters.jpg").read_bytes()
    token = cluster.client.post("/enhance", content=photo).headers["X-Look"]
    recalled: set[float] = set()  # by which replicas, as when their processes began
    files: list[str] = []
    give_up = time.monotonic() + PATIENCE
    while len(recalled) < 2:
        assert time.monotonic() < give_up
        # A cache is of each replica; the LUT has to be the same. Twice, since a proxy
        # that lets them take turns would have one recall, and the other always say that it has not.
        for _ in range(2):
            answer = cluster.client.get(f"/lut/{token}")
            assert answer.status_code == 200
            files.append(answer.text)
        seen = samples(cluster.client)
        if seen.get(response_series("GET", "/lut/{token}", 200)):
            recalled.add(seen["process_start_time_seconds", ()])
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
def test_refusals_are_ours(
    cluster: ServedByRay, path: str, body: bytes, status: int, code: str
) -> None:
    """What is wrong comes back as our problem document."""
    answer = cluster.client.post(path, content=body)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json()["type"] == f"/problems#{code}"


def test_a_full_house_refuses_by_itself(cluster: ServedByRay, photos: Path) -> None:
    """Of a crowd, those who are too many get our 503, and are told when to come back."""
    photo = (photos / "lake.jpg").read_bytes()
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        with ThreadPoolExecutor(CROWD) as callers:
            calls = [
                callers.submit(cluster.client.post, "/enhance", content=photo) for _ in range(CROWD)
            ]
        answers = [call.result() for call in calls]
        refused = [answer for answer in answers if answer.status_code != 200]
        for answer in refused:
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
        # Ray refuses, too, and without a document, those for whom it has not yet found a replica
        # while four others are looking for theirs.
        ours = [answer for answer in refused if not answer.text.startswith(RAY_REFUSES)]
        for answer in ours:
            assert answer.headers["Content-Type"] == PROBLEM
            assert answer.json()["type"] == "/problems#overloaded"
        if ours:
            return
    pytest.fail("the crowd was never too large")


def test_a_body_too_large_is_refused_before_it_is_sent(cluster: ServedByRay) -> None:
    """What a body announces is enough for a 413."""
    with socket.create_connection(("127.0.0.1", cluster.port), timeout=30) as caller:
        caller.sendall(
            b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
        )
        assert caller.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_departure_reaches_the_replica(cluster: ServedByRay) -> None:
    """Callers who hang up in the middle of a body are noticed behind the proxy, too."""
    give_up = time.monotonic() + PATIENCE
    with ExitStack() as callers:
        for _ in range(DEPARTING):
            caller = callers.enter_context(socket.create_connection(("127.0.0.1", cluster.port)))
            caller.sendall(
                b"POST /enhance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n..."
            )
        # Until then it may be that no replica knows of them.
        while not samples(cluster.client)["clut_in_flight_bytes", ()]:
            assert time.monotonic() < give_up
    while True:
        seen = samples(cluster.client)
        free = not seen["clut_in_flight_bytes", ()]
        if (
            free
            and 0
            < seen.get(cancelled_in("receive"), 0)
            == seen[response_series("POST", "/enhance", 499)]
        ):
            return
        assert time.monotonic() < give_up, seen


def test_a_lost_node_is_survived(cluster: ServedByRay, photos: Path) -> None:
    """A node is killed while requests run: none hangs, and the service goes on."""
    photo = (photos / "lake.jpg").read_bytes()
    lost = Event()
    statuses: list[int | None] = []

    def call() -> None:
        after = 0
        with httpx.Client(base_url=f"http://127.0.0.1:{cluster.port}", timeout=60) as client:
            while after < ANSWERED / CALLERS:
                killed = lost.is_set()
                try:
                    status = client.post("/enhance", content=photo).status_code
                except httpx.RemoteProtocolError:
                    status = CUT
                statuses.append(status)
                after += killed and status == 200

    with ThreadPoolExecutor(CALLERS) as callers:
        calls = [callers.submit(call) for _ in range(CALLERS)]
        while statuses.count(200) < ANSWERED:
            time.sleep(0.05)
        cluster.kill_node()
        lost.set()
        for ended in calls:
            ended.result(timeout=120)
    # The requests that were on the node are lost, and told so: 500 from Ray's proxy, or cut off.
    assert set(statuses) <= {200, 500, 503, CUT}
    assert len(statuses) - statuses.count(200) <= 2 * CALLERS


def test_the_configuration_is_of_this_application() -> None:
    """The YAML's arguments, settings and timeout are those that the code knows."""
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
