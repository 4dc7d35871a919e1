"""The Dockerfile and the compose file, without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings
from tests.helpers.paths import ROOT

COMPOSE = ROOT / "docker-compose.yml"
OURS = ("clut-enhance", "clut-enhance-gpu")


def services() -> dict[str, Any]:
    """Read the services of the compose file."""
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def test_the_dockerfile_is_clean() -> None:
    """Hadolint reports nothing."""
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, check=True)


def test_copied_files_are_in_the_build_context() -> None:
    """Every file that the Dockerfile copies exists and passes .dockerignore; no other does."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    allowed = re.findall("^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == set(allowed)
    assert all((ROOT / name).exists() for name in names)


def test_the_port_is_the_default() -> None:
    """EXPOSE, the compose file and the scrape configuration have the default port."""
    port = Settings().http.port
    assert f"EXPOSE {port}\n" in (ROOT / "Dockerfile").read_text()
    for name in OURS:
        assert all(published.endswith(f":{port}") for published in services()[name]["ports"])
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = scrape["scrape_configs"]
    assert job["dns_sd_configs"][0]["port"] == port
    assert set(job["dns_sd_configs"][0]["names"]) < set(services())


def test_the_compose_file() -> None:
    """docker-compose accepts the file, with and without a GPU; mounted files exist."""
    for profile in ([], ["--profile", "gpu"]):
        printed = subprocess.run(
            ["docker-compose", *profile, "config"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        for service in yaml.safe_load(printed)["services"].values():
            assert service["deploy"]["resources"]["limits"]
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                assert not source.startswith("/") or Path(source).exists()


def test_start_order() -> None:
    """Prometheus waits for a healthy service, Grafana for a healthy Prometheus."""
    waiting = {name: services()[name]["depends_on"] for name in ("prometheus", "grafana")}
    healthy = {"condition": "service_healthy"}
    assert waiting == {
        "prometheus": {"clut-enhance": healthy},
        "grafana": {"prometheus": healthy},
    }
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    assert services()["prometheus"]["healthcheck"]["test"]


def test_the_grace_period_covers_the_shutdown() -> None:
    """No container is killed while it completes requests in flight."""
    for name in OURS:
        grace = int(services()[name]["stop_grace_period"].removesuffix("s"))
        drain = float(services()[name]["environment"]["CLUT_HTTP_DRAIN_SECONDS"])
        assert grace > drain + Settings().http.graceful_timeout


def test_grafana_provisioning() -> None:
    """The provisioning files name the folder of the compose file and the source of the panels."""
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/dashboards.yml").read_text())[
        "providers"
    ]
    volumes = services()["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in volumes
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    dashboard = (ROOT / "deploy/grafana/dashboards/clut-enhance.json").read_text()
    assert set(re.findall(r'"uid": "(\w+)"', dashboard)) == {source["uid"]}


def test_clients_without_a_key_are_accepted_explicitly() -> None:
    """The compose file does so, whose ports are on loopback; the image does not."""
    assert "CLUT_AUTH_ALLOW_ANONYMOUS=" not in (ROOT / "Dockerfile").read_text()
    for name in OURS:
        assert services()[name]["environment"]["CLUT_AUTH_ALLOW_ANONYMOUS"] == "true"


def test_nothing_is_published_beyond_this_machine() -> None:
    """Every published port is bound to loopback, and Grafana requires a login."""
    for service in services().values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "GF_AUTH_ANONYMOUS_ENABLED" not in services()["grafana"]["environment"]


def test_images_of_others_are_pinned_by_digest() -> None:
    """A tag can be moved to another image; a digest cannot."""
    for name, service in services().items():
        if name not in OURS:
            assert re.fullmatch(r"[\w/]+:v?[\d.]+@sha256:[0-9a-f]{64}", service["image"])


def test_licence_and_notice_are_in_the_image() -> None:
    """The final stage copies the folder that has both files."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^COPY .*\bLICENSE NOTICE \./$", dockerfile, re.MULTILINE)
    assert "\nWORKDIR /srv/clut\n" in dockerfile
    assert "\nCOPY --from=build /srv/clut /srv/clut\n" in dockerfile
