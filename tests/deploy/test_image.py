"""The Dockerfile and the compose file, as far as that can be seen without an engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from app.settings import Settings
from tests.helpers.paths import ROOT

COMPOSE = ROOT / "docker-compose.yml"


def test_the_dockerfile_is_clean() -> None:
    """Hadolint has nothing to say."""
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, check=True)


def test_everything_that_is_copied_is_sent() -> None:
    """What the Dockerfile copies is there, and let through by .dockerignore."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    let_through = re.findall("^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == set(let_through)
    assert all((ROOT / name).exists() for name in names)


def test_the_port_is_the_default() -> None:
    """EXPOSE, the compose file and the scrape name the port that the service listens on."""
    port = Settings().http.port
    assert f"EXPOSE {port}\n" in (ROOT / "Dockerfile").read_text()
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name in ("clut-enhance", "clut-enhance-gpu"):
        assert all(published.endswith(f":{port}") for published in services[name]["ports"])
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = scrape["scrape_configs"]
    assert job["dns_sd_configs"][0]["port"] == port
    assert set(job["dns_sd_configs"][0]["names"]) < set(services)


def test_the_compose_file() -> None:
    """docker-compose takes it, with and without a GPU, and finds the files it mounts."""
    for profile in ([], ["--profile", "gpu"]):
        answer = subprocess.run(
            ["docker-compose", *profile, "config"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        for service in yaml.safe_load(answer.stdout)["services"].values():
            assert service["deploy"]["resources"]["limits"]
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                assert not source.startswith("/") or Path(source).exists()


def test_nobody_starts_before_what_it_needs() -> None:
    """Prometheus waits until the service is healthy, Grafana until Prometheus is; both can tell."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    waiting = {name: services[name]["depends_on"] for name in ("prometheus", "grafana")}
    healthy = {"condition": "service_healthy"}
    assert waiting == {
        "prometheus": {"clut-enhance": healthy},
        "grafana": {"prometheus": healthy},
    }
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    assert services["prometheus"]["healthcheck"]["test"]


def test_the_grace_of_compose_is_longer_than_the_way_out() -> None:
    """Nothing is killed while it still answers."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name in ("clut-enhance", "clut-enhance-gpu"):
        grace = int(services[name]["stop_grace_period"].removesuffix("s"))
        drain = float(services[name]["environment"]["CLUT_HTTP_DRAIN_SECONDS"])
        assert grace > drain + Settings().http.graceful_timeout


def test_grafana_finds_what_is_mounted() -> None:
    """The provisioning files name the folder and the source that the compose file and panels do."""
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/dashboards.yml").read_text())[
        "providers"
    ]
    volumes = yaml.safe_load(COMPOSE.read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in volumes
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    dashboard = (ROOT / "deploy/grafana/dashboards/clut-enhance.json").read_text()
    assert set(re.findall(r'"uid": "(\w+)"', dashboard)) == {source["uid"]}
