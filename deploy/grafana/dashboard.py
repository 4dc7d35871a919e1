"""Make the Grafana dashboard with Grafana's schema: `python -m deploy.grafana.dashboard`.

The command writes dashboards/clut-enhance.json beside this file, which Grafana reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as styles
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

PATH = Path(__file__).parent / "dashboards" / "clut-enhance.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
PHOTOS = 'route=~"/enhance|/lut.*",instance=~"$instance"'
MINE = 'instance=~"$instance"'


def query(expression: str, legend: str) -> prometheus.Dataquery:
    """Return a PromQL query; {{label}} in the legend is the value of a label."""
    return prometheus.Dataquery().expr(expression).legend_format(legend)


def graph(title: str, text: str, unit: str, **queries: str) -> timeseries.Panel:
    """Plot queries over time; the query `by_LABEL` has one line for each value of the label."""
    panel = timeseries.Panel().title(title).description(text).unit(unit).min(0)
    for legend, expression in queries.items():
        label = legend.removeprefix("by_")
        name = label.replace("_", " ") if label == legend else f"{{{{{label}}}}}"
        panel.with_target(query(expression, name).ref_id(legend))
    return panel.datasource(SOURCE).fill_opacity(10).height(8).span(8)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Stack the lines of a panel."""
    mode = common.StackingConfig().mode(styles.StackingMode.NORMAL)
    return panel.stacking(mode).fill_opacity(60).line_width(0)


def figure(title: str, text: str, unit: str, expression: str, *, red: float) -> stat.Panel:
    """Show one number, which is red from the threshold `red`."""
    steps = [Threshold(color="green"), Threshold(value=red, color="red")]
    thresholds = ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    panel = stat.Panel().title(title).description(text).unit(unit).thresholds(thresholds)
    return panel.with_target(query(expression, "").ref_id("A")).datasource(SOURCE).height(4).span(6)


def objectives() -> list[stat.Panel]:
    """Return the panels of the objectives."""
    return [
        figure(
            "Failed, last hour",
            "5xx responses of /enhance and /lut; the objective is 0.1 % over 30 days.",
            "percentunit",
            "max(clut:error_ratio:rate1h)",
            red=0.0144,
        ),
        figure(
            "Slower than 2.5 s, last hour",
            "Responses of POST /enhance; the objective is 1 % over 30 days.",
            "percentunit",
            "max(clut:slow_ratio:rate1h)",
            red=0.144,
        ),
        figure(
            "Not ready",
            "Replicas that are not ready.",
            "none",
            "count(clut_ready) - sum(clut_ready)",
            red=1,
        ),
        figure(
            "Alerts",
            "Alerts that fire.",
            "none",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            red=1,
        ),
    ]


def traffic() -> list[timeseries.Panel]:
    """Return the panels of requests and their results."""
    rate = "$__rate_interval"
    cancelled = query(
        f"sum by (stage) (rate(clut_cancelled_total{{{MINE}}}[{rate}]))", "cancelled in {{stage}}"
    )
    return [
        stacked(
            graph(
                "Traffic",
                "Requests to /enhance and /lut per second, by route.",
                "reqps",
                by_route=f"sum by (route) (rate(clut_requests_total{{{PHOTOS}}}[{rate}]))",
            )
        ),
        stacked(
            graph(
                "Errors",
                "Responses with an error status per second, by status.",
                "reqps",
                by_status="sum by (status) (rate(clut_requests_total"
                f'{{{PHOTOS},status!~"[23].."}}[{rate}]))',
            )
        ),
        stacked(
            graph(
                "Rejections",
                "By the code of the problem; requests of disconnected clients by their stage.",
                "reqps",
                by_reason=f"sum by (reason) (rate(clut_rejected_total{{{MINE}}}[{rate}]))",
            ).with_target(cancelled.ref_id("cancelled"))
        ),
    ]


def latency() -> list[timeseries.Panel]:
    """Return the panels of latency and bytes."""
    rate = "$__rate_interval"
    quantile = (
        "histogram_quantile({}, sum by (le) (rate(clut_request_duration_seconds_bucket"
        f'{{{{route="/enhance",{MINE}}}}}[{rate}])))'
    )
    requests = f"scalar(sum(rate(clut_queue_wait_seconds_count{{{MINE}}}[{rate}])))"
    return [
        graph(
            "Latency of POST /enhance",
            "From the first byte of the request to the last byte of the response.",
            "s",
            p50=quantile.format(0.5),
            p95=quantile.format(0.95),
            p99=quantile.format(0.99),
        ),
        stacked(
            graph(
                "Latency by stage",
                "Mean seconds per request in each stage, and waiting between the stages.",
                "s",
                by_stage="sum by (stage) (rate(clut_stage_duration_seconds_sum"
                f"{{{MINE}}}[{rate}])) / {requests}",
                waiting=f"sum(rate(clut_queue_wait_seconds_sum{{{MINE}}}[{rate}])) / {requests}",
            )
        ),
        graph(
            "Bytes",
            "Bytes of request and response bodies per second.",
            "Bps",
            received=f"sum(rate(clut_received_bytes_total{{{MINE}}}[{rate}]))",
            sent=f"sum(rate(clut_sent_bytes_total{{{MINE}}}[{rate}]))",
        ),
    ]


def saturation() -> list[timeseries.Panel]:
    """Return the panels of the limits."""
    rate = "$__rate_interval"
    batches = f"clut_batch_size_sum{{{MINE}}}[{rate}]", f"clut_batch_size_count{{{MINE}}}[{rate}]"
    return [
        graph(
            "Saturation",
            "Share of the maximum of requests, decoded pixels and bytes of bodies in flight.",
            "percentunit",
            by_instance=f"clut:queue_saturation:ratio{{{MINE}}}",
            pixels=f"max(clut:memory_saturation:ratio{{{MINE}}})",
            bytes=f"max(clut:byte_saturation:ratio{{{MINE}}})",
        ),
        graph(
            "Queues",
            "Thumbnails that wait for a network, and requests that wait for the memory budget.",
            "none",
            by_model=f"sum by (model) (clut_queue_depth{{{MINE}}})",
            requests_waiting_for_pixels=f"sum(clut_memory_waiters{{{MINE}}})",
        ),
        graph(
            "Batch size",
            "Mean thumbnails per run of a network.",
            "none",
            by_model=f"sum by (model) (rate({batches[0]})) / sum by (model) (rate({batches[1]}))",
        ),
    ]


def resources() -> list[timeseries.Panel]:
    """Return the panels of memory, CPU, GPU and processes."""
    rate = "$__rate_interval"
    process = f'job="clut-enhance",{MINE}'
    return [
        graph(
            "Memory",
            "Resident memory of a replica, that of its sandbox, and the limit of a replica.",
            "bytes",
            by_instance=f"clut_memory_bytes{{{MINE}}}",
            sandbox=f"max(clut_sandbox_memory_bytes{{{MINE}}})",
            limit=f"min(clut_memory_limit_bytes{{{MINE}}})",
        ),
        graph(
            "CPU",
            "Cores in use by each process.",
            "none",
            by_instance=f"rate(process_cpu_seconds_total{{{process}}}[{rate}])",
        ),
        graph(
            "Sandbox",
            "Calls in sandbox processes per second, by outcome; all but ok are files that are "
            "damaged or hostile, and processes that were killed.",
            "ops",
            by_outcome=f"sum by (outcome) (rate(clut_sandbox_calls_total{{{MINE}}}[{rate}]))",
        ),
        graph(
            "Sandbox processes",
            "Processes, and how many of them were busy on average.",
            "none",
            processes=f"sum(clut_sandbox_processes{{{MINE}}})",
            busy=f"sum(rate(clut_sandbox_seconds_total{{{MINE}}}[{rate}]))",
        ),
        graph(
            "GPU memory",
            "Memory of the networks on the GPU; 0 without a GPU.",
            "bytes",
            by_instance=f"clut_device_memory_bytes{{{MINE}}}",
        ),
        graph(
            "Failed runs of networks",
            "A device that fails repeatedly requires a restart of its process.",
            "ops",
            by_instance=f"sum by (instance) (rate(clut_batch_failures_total{{{MINE}}}[{rate}]))",
        ),
        graph(
            "Restarts",
            "Restarts of each process in the last hour.",
            "none",
            by_instance=f"changes(process_start_time_seconds{{{process}}}[1h])",
        ),
        graph(
            "Models",
            "Replicas that serve each model version.",
            "none",
            by_model=f"count by (model, fingerprint, device) (clut_model_info{{{MINE}}})",
        ),
    ]


def dashboard() -> str:
    """Return the dashboard as JSON."""
    instances = QueryVariable("instance").label("Replica").datasource(SOURCE).multi(multi=True)
    instances.query("label_values(clut_ready, instance)").include_all(include_all=True)
    instances.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    page = (
        Dashboard("clut-enhance")
        .uid("clut-enhance")
        .description("Image enhancement: traffic, errors, latency, saturation.")
        .tags(["clut-enhance"])
        .refresh("15s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(instances)
    )
    rows: dict[str, Sequence[stat.Panel | timeseries.Panel]] = {
        "Objectives": objectives(),
        "Traffic": traffic(),
        "Latency": latency(),
        "Saturation": saturation(),
        "Resources": resources(),
    }
    for title, panels in rows.items():
        page.with_row(Row(title))
        for panel in panels:
            page.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=2).encode(page.build()) + "\n"


def main() -> None:
    """Write the dashboard."""
    PATH.write_text(dashboard())


if __name__ == "__main__":
    main()
