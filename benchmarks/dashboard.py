"""The dashboard's panels as Prometheus answers them: `python -m benchmarks.dashboard OUT.png`.

A real service under a mixed load, watched by a real Prometheus, for a minute and a half; then each
panel's queries over that time, plotted where the dashboard has the panel.
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
from tests.helpers.server import serving

SECONDS, STEP = 90, 1
INCH = 0.28  # of a line of the dashboard's grid
UNITS = {"bytes": "B", "Bps": "B/s", "s": "s", "reqps": "/s", "ops": "/s"}


def formatter(unit: str) -> Formatter:
    """Writes numbers in a unit of Grafana's."""
    if unit == "percentunit":
        return PercentFormatter(1)
    return EngFormatter(UNITS[unit]) if unit in UNITS else StrMethodFormatter("{x:g}")


def lines(watching: Prometheus, target: dict[str, Any], since: float) -> dict[str, Any]:
    """The series of one query by their legends, as (seconds since, values)."""
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
    """One panel."""
    found = {}
    for target in panel["targets"]:
        found |= lines(watching, target, since)
    axes.set_title(panel["title"], fontsize=9)
    axes.yaxis.set_major_formatter(formatter(panel["fieldConfig"]["defaults"]["unit"]))
    if panel["type"] == "stat":
        plot_figure(panel, axes, found)
    else:
        plot_lines(panel, axes, found)


def plot_figure(panel: dict[str, Any], axes: Axes, found: dict[str, Any]) -> None:
    """The last number, in the colour of the highest threshold below it."""
    ((_, values),) = found.values()
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colours = [step["color"] for step in steps if values[-1] >= (step["value"] or 0)]
    number = axes.yaxis.get_major_formatter()(values[-1])
    axes.text(0.5, 0.5, number, fontsize=20, color=colours[-1], ha="center", va="center")
    axes.set(xticks=[], yticks=[])


def plot_lines(panel: dict[str, Any], axes: Axes, found: dict[str, Any]) -> None:
    """The series over time, stacked where Grafana stacks them."""
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
    axes.set_ylim(-0.03 * highest, 1.35 * highest)  # 0 is seen, and the legend has room
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, loc="upper left", ncols=3)


def bands() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The panels side by side, and how high they are."""
    panels = [panel for panel in json.loads(PATH.read_text())["panels"] if "targets" in panel]
    for _, band in groupby(panels, key=lambda panel: int(panel["gridPos"]["y"])):
        beside = list(band)
        yield beside[0]["gridPos"]["h"], beside


def draw(watching: Prometheus, since: float, output: Path) -> None:
    """All panels, each in its place."""
    heights, rows = zip(*bands(), strict=True)
    figure = plt.figure(figsize=(15, INCH * sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, height_ratios=heights)
    for part, row in zip(parts, rows, strict=True):
        for axes, panel in zip(part.subplots(1, len(row)), row, strict=True):
            plot(panel, axes, watching, since)
    figure.savefig(output, dpi=70)


def main(output: Path) -> None:
    """Run, ask, draw."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(ADMISSION_MAX_REQUESTS=6, LOG_REQUESTS=False) as server,
        prometheus(server.port, Path(folder)) as watching,
    ):
        since = time.time()
        while time.time() < since + SECONDS:
            mixed_load(server)
        draw(watching, since, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
