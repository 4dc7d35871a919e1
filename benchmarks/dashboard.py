"""The dashboard's panels as Prometheus answers them: `python -m benchmarks.dashboard OUT.png`.

A real service under a mixed load, watched by a real Prometheus, for a minute and a half; then each
panel's queries over that time, plotted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from deploy.grafana.dashboard import PATH
from tests.deploy.conftest import mixed_load
from tests.prometheus import Prometheus, prometheus
from tests.server import serving

SECONDS, STEP, COLUMNS = 90, 1, 3
UNITS = {"percentunit": "1 is all", "reqps": "a second", "Bps": "bytes a second", "s": "seconds"}
UNITS |= {"ops": "a second", "none": "number"}


def panels() -> Iterator[dict[str, Any]]:
    """The panels that hold queries."""
    return (panel for panel in json.loads(PATH.read_text())["panels"] if "targets" in panel)


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
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.set_title(f"{panel['title']} ({UNITS.get(unit, unit)})", fontsize=9)
    stacked = "stacking" in panel["fieldConfig"]["defaults"].get("custom", {})
    found = {}
    for target in panel["targets"]:
        found |= lines(watching, target, since)
    if stacked:
        ticks = sorted({tick for times, _ in found.values() for tick in times})
        by_tick = {name: dict(zip(*series, strict=True)) for name, series in found.items()}
        heights = [[values.get(tick, 0) for tick in ticks] for values in by_tick.values()]
        axes.stackplot(ticks, heights, labels=list(found), alpha=0.8)
    else:
        for name, (times, values) in found.items():
            axes.plot(times, values, label=name)
    axes.set_xlim(0, SECONDS)
    highest = axes.get_ylim()[1]
    axes.set_ylim(-0.03 * highest, 1.35 * highest)  # 0 is seen, and the legend has room
    axes.tick_params(labelsize=7)
    if any(found):
        axes.legend(fontsize=6, loc="upper left", ncols=3)


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
        shown = list(panels())
        rows = -(-len(shown) // COLUMNS)
        figure, grid = plt.subplots(rows, COLUMNS, figsize=(15, 2.4 * rows), layout="constrained")
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        for panel, axes in zip(shown, grid.flat, strict=False):
            plot(panel, axes, watching, since)
        figure.savefig(output, dpi=70)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
