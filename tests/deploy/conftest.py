"""A Prometheus that scrapes a service under load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.load import mixed_load
from tests.helpers.prometheus import Prometheus, prometheus
from tests.helpers.server import serving


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Start a Prometheus that has scraped a service under a mixed load."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        serving(ADMISSION_MAX_REQUESTS=2) as server,
        prometheus(server.port, folder) as watching,
    ):
        for _ in range(2):  # a rate needs two samples of every counter
            mixed_load(server)
            done = server.client.get("/metrics").text
            sent = next(line for line in done.splitlines() if line.startswith("clut_sent_bytes_to"))
            watching.eventually(f"clut_sent_bytes_total >= {sent.split()[1]}")
        yield watching
