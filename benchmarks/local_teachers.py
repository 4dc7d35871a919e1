"""Whether networks for dark and backlit photographs bring local light nearer to the original.

    python -m benchmarks.local_teachers PHOTOS INVENTORY.tsv WEIGHTS

WEIGHTS holds iat-exposure.pth and bpam-lcdp.pth. The held-out photographs are damaged as those
that validate app/training/recipes/gate.toml. It prints a table of docs/local-looks.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from app.policies import STORE
from app.training.dataset import Batch
from app.training.distil import make_dataset
from app.training.ensemble import PixelwiseConfig, Teachers, TeachersConfig
from benchmarks.local_looks import BASELINE, DRAWS, KINDS, WORSE, read_gate_recipe

PIXELWISE = {
    "iat-exposure": PixelwiseConfig(network="iat", file=Path("iat-exposure.pth")),
    "bpam-lcdp": PixelwiseConfig(network="bpam", file=Path("bpam-lcdp.pth")),
}


def measure(teachers: Teachers, batch: Batch) -> float:
    """Return by how many dB the output of the teachers is nearer to the target than the input."""
    size = batch.thumbnails.shape[-1]
    x, y = (batch.places * size).long().unbind(-1)
    outputs = teachers.predict(batch.thumbnails, batch.thumbnails, y * size + x, batch.places)
    before, after = ((it - batch.targets).square().mean() for it in (batch.colours, outputs))
    return float(10.0 * torch.log10((before + 1e-6) / (after + 1e-6)))


def main(folder: Path, inventory: Path, weights: Path) -> None:
    """Print the table."""
    config, photos = read_gate_recipe(folder, inventory)
    name = f"{BASELINE.parent.name}@{BASELINE.name}"
    rows = {name: Teachers(TeachersConfig(store=STORE, models={name: 1.0}))}
    for teacher, it in PIXELWISE.items():
        found = it.model_copy(update={"file": weights / it.file})
        rows[teacher] = Teachers(TeachersConfig(pixelwise=(found,)))
    with TemporaryDirectory() as cache:
        dataset = make_dataset(
            config, photos, rows[f"{BASELINE.parent.name}@{BASELINE.name}"], Path(cache)
        )
    rng = np.random.default_rng(1)
    drawn = [dataset.validation(photos.held_out, rng) for _ in range(DRAWS)]
    kinds = {kind: title for kind, title in KINDS.items() if kind != "untouched"}
    print(f"| network | {' | '.join(f'{it}, dB | worse by {WORSE}' for it in kinds.values())} |")
    print(f"| --- |{' ---: |' * (2 * len(kinds))}")
    for title, teachers in rows.items():
        cells = []
        for kind in kinds:
            gains = np.array([measure(teachers, it) for some in drawn for it in some[kind]])
            cells += [f"{gains.mean():+.2f}", f"{100 * (gains < -WORSE).mean():.0f} %"]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
