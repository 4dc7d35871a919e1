"""Rules, alerts and dashboards, evaluated by a real Prometheus that scrapes the service."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from deploy.grafana.dashboard import PATH, dashboard
from tests.helpers.paths import ROOT
from tests.helpers.prometheus import RULES, Prometheus, comparisons_as_numbers

pytestmark = pytest.mark.slow

METRIC = re.compile(r"\b(?:clut|process)_[a-z_]+\b")
OPERATIONS = ROOT / "docs" / "operations.md"


def rules(kind: str) -> list[dict[str, str]]:
    """Return all rules of a kind: "record" or "alert"."""
    files = [yaml.safe_load((RULES / name).read_text()) for name in ("recording.yml", "alerts.yml")]
    groups = [group for file in files for group in file["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def panels() -> Iterator[tuple[str, str]]:
    """Yield the title of each panel and its queries as Grafana sends them."""
    for panel in json.loads(PATH.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], expression.replace("$instance", ".*")


def family(series: str) -> str:
    """Return the metric of a series."""
    return re.sub("_(bucket|count|sum|created)$", "", series)


@pytest.mark.parametrize("rule", rules("record"), ids=lambda rule: rule["record"])
def test_recording_rules_have_data(watched: Prometheus, rule: dict[str, str]) -> None:
    """Each rule has input data, and its result is recorded."""
    assert watched.eventually(rule["expr"])
    assert watched.eventually(rule["record"])


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_alerts_have_data(watched: Prometheus, rule: dict[str, str]) -> None:
    """Each alert reads metrics that exist."""
    assert watched.eventually(comparisons_as_numbers(rule["expr"]))


@pytest.mark.parametrize(("title", "expression"), list(panels()))
def test_panels_have_data(watched: Prometheus, title: str, expression: str) -> None:
    """Each query of the dashboard returns data."""
    assert watched.eventually(expression), title


def test_documented_metrics_exist(watched: Prometheus) -> None:
    """The documentation, the rules and the dashboard name metrics that the service exports."""
    series = watched.get("label/__name__/values")
    known = {*series, *(family(name) for name in series)}
    for path in (OPERATIONS, PATH, *RULES.glob("*.yml")):
        names = set(METRIC.findall(path.read_text()))
        assert names <= known, f"{path}: {names - known}"


def test_every_metric_is_documented(watched: Prometheus) -> None:
    """The documentation lists each metric that the service exports."""
    text = OPERATIONS.read_text()
    for name in watched.get("label/__name__/values"):
        if name.startswith("clut_"):
            assert family(name) in text


def test_every_alert_has_its_runbook() -> None:
    """The annotation of each alert links to a heading of the documentation."""
    headings = re.findall(r"^### (.+)$", OPERATIONS.read_text(), re.MULTILINE)
    anchors = {f"docs/operations.md#{heading.lower()}" for heading in headings}
    for rule in rules("alert"):
        assert rule["annotations"]["runbook"] in anchors  # type: ignore[index]


def test_every_alert_has_a_test() -> None:
    """Each alert fires in a case; cases list all alerts that fire, so the others do not."""
    cases = (RULES / "tests.yml").read_text()
    assert set(re.findall(r'alertname="(\w+)"', cases)) == {
        rule["alert"] for rule in rules("alert")
    }


def test_rules_with_promtool() -> None:
    """The configuration and the rules are valid, and the tests of the rules pass."""
    for command in (
        ["check", "config", RULES / "prometheus.yml"],
        ["check", "rules", RULES / "recording.yml", RULES / "alerts.yml"],
        ["test", "rules", RULES / "tests.yml"],
    ):
        subprocess.run(["promtool", *command], check=True)


def test_the_dashboard_is_current() -> None:
    """The file is the output of its program; the queries of a panel have different names."""
    assert PATH.read_text() == dashboard()
    for panel in json.loads(PATH.read_text())["panels"]:
        names = [target["refId"] for target in panel.get("targets", [])]
        assert all(names)
        assert len(names) == len(set(names))
