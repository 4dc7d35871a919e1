"""The report of an ablation: a table and a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.training.ablation import AblationConfig, Result, Students, Variant, count_cost

Results = Mapping[str, Sequence[Result]]
"""The results by network, one for each seed."""

_REMARKS = "## Remarks\n"
_HEAD = """\
| network | N+S+W | D | of the LUTs | in all | multiply-adds | seeds | teachers, dB \
| last quarter, dB | expert, dB | ΔE |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""
_KEY = """\
- of the LUTs, in all: learned parameters, of the basis (psi and the matrices) and of everything.
- multiply-adds: to mix the basis for one photograph and to rebuild its table.
- teachers: PSNR to the teachers' outputs, the mean over held-out photographs, made raw-like.
- last quarter: how much of that the last quarter of the training added.
- expert: PSNR and ΔE (CIE 1976) to an expert's versions, the mean over the test pairs,
  none of which these networks were trained on.
- Values of several seeds are the mean ± the standard deviation.
- -- is not compressed. PCA: not trained, but the named network, its basis compressed afterwards,
  without fine-tuning. Fixed matrices stay as all start: Legendre polynomials."""


def compare(config: AblationConfig) -> Results:
    """Train the networks that are not trained yet, and write the report after each network.

    Called again after an interruption, it continues from the last checkpoint. Another recipe
    needs another folder: but for more steps, existing models are taken as they are.

    Raises:
        Problem: a photograph, a teacher, a pair or a checkpoint cannot be read; a loss is not
            finite.
    """
    students = Students(config)
    results: dict[str, list[Result]] = {}
    for name, seed in config.runs:
        results.setdefault(name, []).append(students.result(name, seed))
        write_report(config, results)
    return results


def write_report(config: AblationConfig, results: Results) -> None:
    """Write the report and the plot; the remarks of an earlier report stay."""
    path, plot = config.report, config.report.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (_line(name, config.networks[name], of_seeds) for name, of_seeds in results.items())
    parts = [
        "# Ways to compress LUTs, compared",
        _conditions(config, results),
        _HEAD + "\n".join(lines),
        _KEY,
        f"![PSNR to the teachers against the parameters of the LUTs, and against the steps of the "
        f"training]({plot.name})",
        _REMARKS + _remarks(path),
    ]
    path.write_text("\n\n".join(parts), encoding="utf-8")
    _plot(config, results).savefig(plot)


def _remarks(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition(_REMARKS)[2] if path.exists() else ""


def _conditions(config: AblationConfig, results: Results) -> str:
    shared, steps = config.distil, config.distil.schedule.steps
    flat = [result for of_seeds in results.values() for result in of_seeds]
    minutes = sum(_minutes(result, shared.batch) for result in flat)
    done = {(name, seed) for name, it in results.items() for seed in range(len(it))}
    missing = [f"{name} (seed {seed})" for name, seed in config.runs if (name, seed) not in done]
    text = (
        f"Made by `make compare`. Each network is trained for {steps:,} steps of {shared.batch} "
        f"photographs: {steps * shared.batch:,} views, the same for all networks of a seed, of "
        f"{len(flat[0].card.training['photos'])} photographs. The targets are the mean output of "
        f"{', '.join(shared.teachers.models)}. Training took {minutes:.0f} minutes."
        + (f" Not finished: {', '.join(missing)}." if missing else "")
    )
    return fill(text, width=100)


def _minutes(result: Result, batch: int) -> float:
    """Compute how long a network has trained; 0 if it has not."""
    lines = [(it["step"], it["photos_per_second"]) for it in result.metrics]
    spans = pairwise([(0.0, 0.0), *lines])
    return sum((step - last) * batch / speed for (last, _), (step, speed) in spans) / 60.0


def _line(name: str, variant: Variant, results: Sequence[Result]) -> str:
    def mean(value: Callable[[Result], float]) -> str:
        values = [value(result) for result in results]
        return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")

    cells = (
        name + _aside(variant),
        variant.shape,
        variant.d,
        *(f"{count:,}" for count in count_cost(variant)),
        len(results),
        mean(lambda it: it.to_teachers),
        "" if variant.pca_of else mean(_last_quarter),
        mean(lambda it: it.to_expert.psnr),
        mean(lambda it: it.to_expert.de76),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _last_quarter(result: Result) -> float:
    """Compute the gain in PSNR to the teachers in the last quarter of the training, in dB."""
    lines = result.metrics
    before = min(lines, key=lambda it: abs(it["step"] - lines[-1]["step"] * 3 / 4))
    return lines[-1]["psnr_taught"] - before["psnr_taught"]


def _aside(variant: Variant) -> str:
    if variant.pca_of:
        return f" (PCA of {variant.pca_of})"
    return " (fixed matrices)" if variant.fixed_matrices else ""


def _plot(config: AblationConfig, results: Results) -> Figure:
    figure = Figure(figsize=(12, 5), layout="constrained", dpi=120)
    by_size, by_step = figure.subplots(1, 2)
    by_size.set(xscale="log", xlabel="parameters of the LUTs", ylabel="PSNR to the teachers, dB")
    by_size.margins(x=0.15, y=0.1)  # room for the names
    by_step.set(xlabel="step", ylabel="PSNR to the teachers, dB")
    for axes in (by_size, by_step):
        axes.grid(alpha=0.3)
    for name, of_seeds in results.items():
        values = [result.to_teachers for result in of_seeds]
        place = (count_cost(config.networks[name]).lut_parameters, fmean(values))
        spread = stdev(values) if len(values) > 1 else None
        by_size.errorbar(*place, yerr=spread, fmt="o")
        by_size.annotate(name, place, xytext=(6, 4), textcoords="offset points")
        if of_seeds[0].metrics:
            _draw_curve(by_step, name, of_seeds)
    by_step.legend()
    return figure


def _draw_curve(axes: Axes, name: str, results: Sequence[Result]) -> None:
    """Draw the mean over the seeds, which have the same steps."""
    steps = [line["step"] for line in results[0].metrics]
    curves = ([line["psnr_taught"] for line in result.metrics] for result in results)
    columns = zip(*curves, strict=True)
    axes.plot(steps, [fmean(column) for column in columns], label=name)
