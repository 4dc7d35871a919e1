"""Training of spatial LUTs: the tables themselves are learned, from coarse to fine.

The output of a stage is linear in its entries, so no network is needed to learn them: Adam on the
entries that a batch reads. Rarely read entries inherit what the coarse grid learned. The result of
the first stage is rounded in the forward pass only (straight-through), like the tables.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.restoration.engine import Model, chain
from app.restoration.methods.base import Imported, Tables
from app.restoration.store import RestorationCard, write_restorer
from app.training.data import Photos
from app.training.restoration.config import RestorationConfig
from app.training.restoration.patches import (
    Patches,
    batches,
    knots_of,
    make_groups,
    read_example,
    to_planes,
)
from app.training.restoration.stages import Floats, TrainedStage, to_values

_RATE_AT_END = 0.03  # of the rate at the beginning of a phase
_VALIDATED = 24  # photographs
_FITTED = 40  # photographs that the linear function is fitted to


class RestorationTrainer:
    """Learns the tables of a model from patches.

    Attributes:
        stages: in the order in which they run.
        margin: pixels around a patch that its result depends on.
    """

    def __init__(self, config: RestorationConfig) -> None:
        self.config = config
        self.knots = knots_of(config)
        scales = [1] * (len(config.patterns) - 1) + [config.scale]
        self.stages = [
            TrainedStage(patterns, denominator, scale, grid, len(self.knots))
            for patterns, denominator, scale, grid in zip(
                config.patterns, config.denominators, scales, config.phases[0].grids, strict=True
            )
        ]
        self.margin = sum(stage.reach for stage in self.stages)

    def initialise(self, photos: Sequence[Path], rng: np.random.Generator) -> None:
        """Begin with the best linear function to enlarge; cleaning begins with no change."""
        if self.config.task == "upscale":
            some = [photos[i] for i in rng.permutation(len(photos))[:_FITTED]]
            self.stages[-1].fit_linear(make_groups(some, self.config, self.margin, rng))

    def refine(self, grids: Sequence[int]) -> None:
        """Refine the grid of each stage until the distance of its levels is as given."""
        for stage, grid in zip(self.stages, grids, strict=True):
            stage.refine(grid)

    def step(self, groups: Sequence[Patches], rate: float) -> float:
        """Learn from a batch; return its mean squared error."""
        error = float(np.mean([self.propagate(group) for group in groups]))
        for stage in self.stages:
            stage.update(rate)
        return error

    def propagate(self, patches: Patches) -> float:
        """Add to the slopes of the tables; return the mean squared error."""
        tables = [stage.blend(patches.weights) for stage in self.stages]
        maps = [patches.inputs]
        passed = []  # where the rounded value may still change
        for stage, blended in zip(self.stages[:-1], tables, strict=False):
            out = stage.forward(maps[-1], blended)[..., 0]
            passed.append((out >= 0) & (out <= 255))
            maps.append(np.rint(out.clip(0, 255)).astype(np.uint8))
        out = self.stages[-1].forward(maps[-1], tables[-1])
        error = out.clip(0, 255) - to_values(patches.targets, self.config.scale)
        slopes: Floats | None = error
        for n in reversed(range(len(self.stages))):
            assert slopes is not None  # noqa: S101 -- every stage but the first passes them on
            slopes = self.stages[n].backward(
                maps[n], tables[n], patches.weights, slopes, passes_on=n > 0
            )
            if n > 0 and slopes is not None:
                slopes = (slopes * passed[n - 1])[..., None]
        return float(np.square(error).mean())

    def save(self, path: Path, step: int) -> None:
        """Write a checkpoint after a number of steps, atomically."""
        arrays: dict[str, Any] = {
            f"{n}.{name}": array
            for n, stage in enumerate(self.stages)
            for name, array in stage.state().items()
        }
        new = path.with_suffix(".new.npz")
        np.savez(new, **arrays, step=np.array(step))
        new.replace(path)

    def restore(self, path: Path) -> int:
        """Read a checkpoint; return the number of its steps."""
        with np.load(path) as arrays:
            for n, stage in enumerate(self.stages):
                prefix = f"{n}."
                names = [name for name in arrays.files if name.startswith(prefix)]
                stage.set_state({name.removeprefix(prefix): arrays[name] for name in names})
            return int(arrays["step"])

    def to_model(self, weights: Sequence[float]) -> Model:
        """Return the model for a kind of damage, with its tables rounded."""
        return chain([stage.to_stage(weights) for stage in self.stages])

    def to_imported(self) -> Imported:
        """Return the rounded tables by their names in the model store."""
        tables: Tables = {}
        for s, knot in enumerate(self.knots):
            prefix = f"{knot}_" if len(self.knots) > 1 else ""
            for number, stage in enumerate(self.stages, 1):
                for pattern, table in zip(stage.patterns, stage.tables[s], strict=True):
                    tables[f"{prefix}stage{number}_{pattern}"] = np.rint(table).astype(np.int8)
        count = len(self.stages)
        hparams = {
            "denominators": list(self.config.denominators),
            "biases": [0.0] * count,
            "residual": True,
        }
        method = "cleaner" if self.config.task == "clean" else "mulut"
        return Imported(method, tables, hparams)


def train(config: RestorationConfig) -> RestorationCard:
    """Train a model, and write it to the model store.

    Called again after an interruption, it continues from the last checkpoint.

    Raises:
        Problem: the photographs cannot be read.
    """
    photos = Photos(config.photos)
    trainer = RestorationTrainer(config)
    config.run.mkdir(parents=True, exist_ok=True)
    checkpoint = config.run / "checkpoint.npz"
    schedule = [(phase, step) for phase in config.phases for step in range(phase.steps)]
    begun = trainer.restore(checkpoint) if checkpoint.exists() else 0
    rng = np.random.default_rng([config.seed, begun])
    if not begun:
        trainer.initialise(photos.train, rng)
    stream = batches(photos.train, config, trainer.margin, rng)
    errors: list[float] = []
    for number, (phase, step) in enumerate(schedule[begun:], begun + 1):
        trainer.refine(phase.grids)
        errors.append(trainer.step(next(stream), phase.rate * _share(step / phase.steps)))
        if number % config.report == 0 or number == len(schedule):
            trainer.save(checkpoint, number)
            figures = validate(trainer, photos.held_out)
            with (config.run / "metrics.csv").open("a", newline="") as file:
                csv.writer(file).writerow((number, psnr(errors), *figures))
            errors.clear()
    return write_restorer(
        config.store,
        trainer.to_imported(),
        name=config.name,
        licence=config.licence,
        source="Trained here on photographs under free licences, which the training lists.",
        training={
            "command": "clut-enhance restoration train",
            "recipe": config.model_dump(
                mode="json", exclude={"run": True, "store": True, "photos": {"folder", "inventory"}}
            ),
            "steps": len(schedule),
            "photos": photos.credits,
        },
    )


def validate(trainer: RestorationTrainer, photos: Sequence[Path]) -> tuple[float, float]:
    """Return the PSNR of held-out photographs, by the model and by Lanczos or as they are."""
    rng = np.random.default_rng(0)
    ours, baseline = [], []
    for path in photos[:_VALIDATED]:
        example = read_example(path, trainer.config, rng)
        inputs = to_planes(example.damaged, luma=True)
        target = to_planes(example.original, luma=True)[0].astype(np.float32)
        size = (target.shape[1], target.shape[0])
        lanczos = np.asarray(Image.fromarray(inputs[0]).resize(size, Image.Resampling.LANCZOS))
        found = trainer.to_model(example.weights).run(inputs)[0]
        ours.append(float(np.square(found - target).mean()))
        baseline.append(float(np.square(lanczos - target).mean()))
    return psnr(ours), psnr(baseline)


def psnr(errors: Sequence[float]) -> float:
    """Return the PSNR in dB of mean squared errors in 8-bit levels."""
    return round(10 * math.log10(255**2 / max(float(np.mean(errors)), 1e-9)), 3)


def _share(progress: float) -> float:
    return _RATE_AT_END + (1 - _RATE_AT_END) * 0.5 * (1 + math.cos(math.pi * progress))
