"""The report of an ablation: a table and a plot."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from textwrap import fill

from matplotlib.figure import Figure

from app.training.ablation import AblationConfig, Row, Students, Variant

_REMARKS = "## Remarks\n"
_HEAD = """\
| network | N+S+W | D | of the LUTs | in all | multiply-adds | teachers, dB | expert, dB | ΔE |
|---|---|---:|---:|---:|---:|---:|---:|---:|
"""
_KEY = """\
- of the LUTs, in all: learned parameters, of the basis (psi and the matrices) and of everything.
- multiply-adds: to mix the basis for one photograph and to rebuild its table.
- teachers: PSNR to the teachers' outputs, the mean over held-out photographs, made raw-like.
- expert: PSNR and ΔE (CIE 1976) to an expert's versions, the mean over the test pairs,
  none of which these networks were trained on.
- -- is not compressed. PCA: not trained, but the named network, its basis compressed afterwards,
  without fine-tuning. Fixed matrices stay as all start: Legendre polynomials."""


def compare(config: AblationConfig) -> list[Row]:
    """Train the networks that are not trained yet, and write the report after each network.

    Called again after an interruption, it continues from the last checkpoint. Another recipe
    needs another folder: but for more steps, existing models are taken as they are.

    Raises:
        Problem: a photograph, a teacher, a pair or a checkpoint cannot be read; a loss is not
            finite.
    """
    students, rows = Students(config), []
    for name in config.networks:
        rows.append(students.row(name))
        write_report(config, rows)
    return rows


def write_report(config: AblationConfig, rows: list[Row]) -> None:
    """Write the report and the plot; the remarks of an earlier report stay."""
    path, plot = config.report, config.report.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        "# Ways to compress LUTs, compared",
        _conditions(config, rows),
        _HEAD + "\n".join(map(_line, rows)),
        _KEY,
        f"![PSNR to the teachers against the parameters of the LUTs]({plot.name})",
        _REMARKS + _remarks(path),
    ]
    path.write_text("\n\n".join(parts), encoding="utf-8")
    _plot(rows).savefig(plot)


def _remarks(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition(_REMARKS)[2] if path.exists() else ""


def _conditions(config: AblationConfig, rows: list[Row]) -> str:
    shared, steps = config.distil, config.distil.schedule.steps
    minutes = sum(_minutes(shared.run / row.card.name, shared.batch) for row in rows)
    photos = len(rows[0].card.training["photos"])
    missing = list(config.networks)[len(rows) :]
    text = (
        f"Made by `make compare`. Every network was trained for {steps:,} steps of {shared.batch} "
        f"photographs: {steps * shared.batch:,} views, the same for all, of {photos} photographs, "
        f"answered by {', '.join(shared.teachers.models)}; seed {shared.seed}. "
        f"Training took {minutes:.0f} minutes."
        + (f" Not finished, so left out: {', '.join(missing)}." if missing else "")
    )
    return fill(text, width=100)


def _minutes(run: Path, batch: int) -> float:
    """Compute how long a run has trained; 0 if there was none."""
    path = run / "metrics.csv"
    if not path.exists():
        return 0.0
    with path.open(newline="", encoding="utf-8") as file:
        lines = [(int(it["step"]), float(it["photos_per_second"])) for it in csv.DictReader(file)]
    spans = pairwise([(0, 0.0), *lines])
    return sum((step - last) * batch / speed for (last, _), (step, speed) in spans) / 60.0


def _line(row: Row) -> str:
    variant, cost, expert = row.variant, row.cost, row.to_expert
    cells = (
        row.card.name + _aside(variant),
        variant.shape,
        variant.d,
        *(f"{count:,}" for count in cost),
        f"{row.to_teachers:.2f}",
        f"{expert.psnr:.2f}",
        f"{expert.de76:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _aside(variant: Variant) -> str:
    if variant.pca_of:
        return f" (PCA of {variant.pca_of})"
    return " (fixed matrices)" if variant.fixed_matrices else ""


def _plot(rows: list[Row]) -> Figure:
    figure = Figure(figsize=(8, 5), layout="constrained", dpi=120)
    axes = figure.subplots()
    axes.set(xscale="log", xlabel="parameters of the LUTs", ylabel="PSNR to the teachers, dB")
    axes.margins(x=0.15, y=0.1)  # room for the names
    axes.grid(alpha=0.3)
    for row in rows:
        place = (row.cost.lut_parameters, row.to_teachers)
        axes.plot(*place, "o")
        axes.annotate(row.card.name, place, xytext=(6, 4), textcoords="offset points")
    return figure
