"""Plot the panels of the dashboard: `python -m benchmarks.dashboard OUT.png`.

Prometheus scrapes the service under a mixed load for 90 seconds. Each panel then shows the results
of its queries over that time, in its place on the dashboard.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, Formatter, PercentFormatter, StrMethodFormatter

from deploy.grafana.dashboard import PATH
from tests.helpers.load import mixed_load
from tests.helpers.prometheus import Prometheus, prometheus
from tests.helpers.server import PROGRAM, serving

SECONDS, STEP = 90, 1
INCH = 0.28  # per row of the grid
UNITS = {"bytes": "B", "Bps": "B/s", "s": "s", "reqps": "/s", "ops": "/s"}


def make_formatter(unit: str) -> Formatter:
    """Return a formatter of numbers in a unit of Grafana."""
    if unit == "percentunit":
        return PercentFormatter(1)
    return EngFormatter(UNITS[unit]) if unit in UNITS else StrMethodFormatter("{x:g}")


def query_series(watching: Prometheus, target: dict[str, Any], since: float) -> dict[str, Any]:
    """Return the series of one query by legend, as (seconds since the start, values)."""
    expression = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
    data = watching.get(
        "query_range", query=expression, start=since, end=since + SECONDS, step=STEP
    )
    found = {}
    for series in data["result"]:
        legend = target["legendFormat"]
        for label, value in series["metric"].items():
            legend = legend.replace(f"{{{{{label}}}}}", value)
        times, values = zip(*series["values"], strict=True)
        found[legend] = [time - since for time in times], [float(value) for value in values]
    return found


def plot(panel: dict[str, Any], axes: Axes, watching: Prometheus, since: float) -> None:
    """Plot one panel."""
    found: dict[str, Any] = {}
    for target in panel["targets"]:
        found |= query_series(watching, target, since)
    axes.set_title(panel["title"], fontsize=9)
    axes.yaxis.set_major_formatter(make_formatter(panel["fieldConfig"]["defaults"]["unit"]))
    if panel["type"] == "stat":
        plot_figure(panel, axes, found)
    else:
        plot_lines(panel, axes, found)


def plot_figure(panel: dict[str, Any], axes: Axes, found: dict[str, Any]) -> None:
    """Write the last value in the colour of the highest threshold below it."""
    ((_, values),) = found.values()
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colours = [step["color"] for step in steps if values[-1] >= (step["value"] or 0)]
    number = axes.yaxis.get_major_formatter()(values[-1])
    axes.text(0.5, 0.5, number, fontsize=20, color=colours[-1], ha="center", va="center")
    axes.set(xticks=[], yticks=[])


def plot_lines(panel: dict[str, Any], axes: Axes, found: dict[str, Any]) -> None:
    """Plot the series over time, stacked where Grafana stacks them."""
    if "stacking" in panel["fieldConfig"]["defaults"]["custom"]:
        ticks = sorted({tick for times, _ in found.values() for tick in times})
        by_tick = {name: dict(zip(*series, strict=True)) for name, series in found.items()}
        heights = [[values.get(tick, 0) for tick in ticks] for values in by_tick.values()]
        axes.stackplot(ticks, heights, labels=list(found), alpha=0.8)
    else:
        for name, (times, values) in found.items():
            axes.plot(times, values, label=name)
    axes.set_xlim(0, SECONDS)
    highest = axes.get_ylim()[1] if any(max(values) for _, values in found.values()) else 1
    axes.set_ylim(
        -0.03 * highest, 1.35 * highest
    )  # shows the line at 0 and leaves room for the legend
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, loc="upper left", ncols=3)


def group_rows() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the height of each row of panels, and its panels."""
    panels = [panel for panel in json.loads(PATH.read_text())["panels"] if "targets" in panel]
    for _, band in groupby(panels, key=lambda panel: int(panel["gridPos"]["y"])):
        beside = list(band)
        yield beside[0]["gridPos"]["h"], beside


def draw(watching: Prometheus, since: float, output: Path) -> None:
    """Plot all panels, each in its place."""
    heights, rows = zip(*group_rows(), strict=True)
    figure = plt.figure(figsize=(15, INCH * sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)
    for part, row in zip(parts[:, 0], rows, strict=True):
        for axes, panel in zip(part.subplots(1, len(row)), row, strict=True):
            plot(panel, axes, watching, since)
    figure.savefig(output, dpi=70)


def main(output: Path) -> None:
    """Run the service and Prometheus, query and plot."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(program=PROGRAM, ADMISSION_MAX_REQUESTS=6, LOG_REQUESTS=False) as server,
        prometheus(server.port, Path(folder)) as watching,
    ):
        since = time.time()
        while time.time() < since + SECONDS:
            mixed_load(server)
        draw(watching, since, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
