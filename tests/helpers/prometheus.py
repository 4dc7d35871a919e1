"""Prometheus with the rules of deploy/prometheus, which scrapes a service."""

from __future__ import annotations

import math
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.helpers.paths import ROOT
from tests.helpers.server import PATIENCE, free_port

RULES = ROOT / "deploy" / "prometheus"
INTERVAL = "500ms"  # of scrapes and evaluations, so that tests are fast


@dataclass(frozen=True)
class Prometheus:
    """A client of a running Prometheus."""

    client: httpx.Client

    def get(self, path: str, **parameters: str | float) -> Any:
        """Return the data of a response of the API."""
        document = self.client.get(f"/api/v1/{path}", params=parameters).json()
        assert document["status"] == "success", f"{parameters}: {document['error']}"
        return document["data"]

    def values(self, expression: str) -> list[float]:
        """Evaluate a PromQL expression; return its numbers, or none without data."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [float(data["result"][1])]
        numbers = (float(sample["value"][1]) for sample in data["result"])
        return [number for number in numbers if not math.isnan(number)]

    def eventually(self, expression: str) -> list[float]:
        """Wait until an expression has numbers, and return them."""
        give_up = time.monotonic() + PATIENCE
        while not (values := self.values(expression)):
            assert time.monotonic() < give_up, f"no data: {expression}"
            time.sleep(0.1)
        return values


@contextmanager
def prometheus(service_port: int, folder: Path) -> Iterator[Prometheus]:
    """Start Prometheus with the configuration of deploy/prometheus and a static target."""
    configuration = yaml.safe_load((RULES / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    configuration["rule_files"] = [str(RULES / name) for name in configuration["rule_files"]]
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{service_port}"]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ]
    )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE) as client:
            _until_ready(client)
            yield Prometheus(client)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def comparisons_as_numbers(expression: str) -> str:
    """Return an expression that is 0 where the expression of an alert has no value."""
    return re.sub(r"(>=|<=|==|!=|>|<)\s+(?=[\d(])", r"\1 bool ", expression)


def _until_ready(client: httpx.Client) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            if client.get("/-/ready").status_code == 200:
                return
        except httpx.ConnectError:
            pass
        time.sleep(0.1)
    raise TimeoutError("Prometheus did not become ready")
