"""Training of spatial LUTs: the tables themselves are learned, from coarse to fine.

The output of a layer is linear in its entries, so no network is needed to learn them: Adam on the
entries that a batch reads. Rarely read entries inherit what the coarse grid learned.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.errors import BadParameter
from app.restoration.descriptions import DESCRIPTIONS
from app.restoration.engine import Model, build
from app.restoration.kernels import HALF
from app.restoration.published_files import Imported
from app.restoration.store import RestorationCard, write_restorer
from app.training.data import Photos
from app.training.restoration.config import RestorationConfig
from app.training.restoration.network import Network, to_values
from app.training.restoration.patches import (
    Patches,
    batches,
    make_groups,
    read_example,
    sets_of,
    to_images,
)
from app.training.restoration.tables import Floats, Table, tap_levels

_LANCZOS = Image.Resampling.LANCZOS
_RATE_AT_END = 0.03  # of the rate at the beginning of a phase
_VALIDATED = 24  # photographs
_FITTED = 40  # photographs that the linear function is fitted to
_FITTED_PIXELS = 100_000
_CONVERGED = 1e-8  # of the square of the slopes at the beginning
_ROUNDS = 25  # of conjugate gradients, few enough that taps which coincide share the weight


class RestorationTrainer:
    """Learns the tables of a model from patches.

    Attributes:
        network: the description of the method, and its tables.
        knots: the names of the sets of tables.
    """

    def __init__(self, config: RestorationConfig) -> None:
        """Describe the method of a recipe.

        Raises:
            BadParameter: it lacks an hparam, or does not enlarge by the scale.
        """
        self.config = config
        self.knots = sets_of(config)
        self.hparams = {"scale": config.scale, "planes": config.damage.planes, **config.hparams}
        try:
            description = DESCRIPTIONS[config.method](self.hparams)
            self.network = Network(description, config.phases[0].grids, len(self.knots))
        except (KeyError, TypeError, ValueError) as error:
            raise BadParameter(f"the recipe does not fit {config.method}: {error}") from error
        if description.scale != config.scale:
            raise BadParameter(f"{config.method} enlarges by {description.scale}")
        self.description = description

    def initialise(self, photos: Sequence[Path], rng: np.random.Generator) -> None:
        """Begin with the best linear function to enlarge; others begin with no change."""
        if self.config.scale > 1:
            some = [photos[i] for i in rng.permutation(len(photos))[:_FITTED]]
            groups = make_groups(some, self.config, self.description, rng)
            count = _FITTED_PIXELS // (self.config.patches * self.config.size**2)
            fit_linear(self.network, groups[: max(1, count)])

    def step(self, groups: Sequence[Patches], rate: float) -> float:
        """Learn from a batch; return its mean squared error."""
        error = float(np.mean([self.network.propagate(group) for group in groups]))
        self.network.update(rate)
        return error

    def save(self, path: Path, step: int) -> None:
        """Write a checkpoint after a number of steps, atomically."""
        arrays: dict[str, Any] = {
            f"{name}.{part}": array
            for name, table in self.network.tables.items()
            for part, array in table.state().items()
        }
        new = path.with_suffix(".new.npz")
        np.savez(new, **arrays, step=np.array(step))
        new.replace(path)

    def restore(self, path: Path) -> int:
        """Read a checkpoint; return the number of its steps."""
        with np.load(path) as arrays:
            names = {name.rpartition(".")[0] for name in arrays.files} - {""}
            parts = "entries", "first", "second"
            self.network.set_tables(
                {
                    name: Table.from_state({it: arrays[f"{name}.{it}"] for it in parts})
                    for name in names
                }
            )
            return int(arrays["step"])

    def to_model(self, weights: Sequence[float]) -> Model:
        """Return the model for a kind of damage, with its tables rounded."""
        return build(self.description, self.network.to_tables(weights))

    def to_imported(self) -> Imported:
        """Return the rounded tables by their names in the model store."""
        if self.config.method != "cleaner":
            return Imported(self.config.method, self.network.to_tables([1.0]), self.hparams)
        tables = {
            f"{knot}_{name}": table
            for knot, weights in zip(self.knots, np.eye(len(self.knots)), strict=True)
            for name, table in self.network.to_tables(list(weights)).items()
        }
        return Imported(self.config.method, tables, self.hparams)


def fit_linear(network: Network, groups: Sequence[Patches]) -> None:
    """Add to the tables of the last layer the linear function of the taps that fits best.

    Its coefficients are those of the differences of the taps from the first one, and are found by
    least squares (conjugate gradients).
    """
    layer = network.layers[-1]
    levels = tap_levels(layer.layer, layer.step)
    basis = levels[:, 1:] - levels[:, :1]  # (rows, taps - 1)
    tapes = [network.forward(group.inputs, group.weights)[-1] for group in groups]
    residuals = [
        to_values(group.targets, layer.layer.scale)[-1] - tape.out
        for group, tape in zip(groups, tapes, strict=True)
    ]
    size = len(layer.layer.lookups), basis.shape[1], layer.layer.values
    found = np.zeros(size, np.float32)

    def pull() -> Floats:
        slopes = np.zeros_like(tapes[0].tables)
        for tape, residual in zip(tapes, residuals, strict=True):
            layer.add_slopes(tape, residual, slopes, passes_on=False)
        slope: Floats = np.einsum("rt,krv->ktv", basis, slopes)
        return slope

    direction = slope = pull()
    enough = _CONVERGED * float(np.square(slope).sum())
    for _ in range(_ROUNDS):
        tables = np.einsum("rt,ktv->krv", basis, direction).astype(np.float32)
        changes = [layer.sum(tape.maps, tables) for tape in tapes]
        length = sum(float(np.square(it).sum()) for it in changes)
        before = float(np.square(slope).sum())
        if not length or before <= enough:
            break
        share = np.float32(before / length)
        found += share * direction
        for residual, change in zip(residuals, changes, strict=True):
            residual -= share * change
        slope = pull()
        direction = slope + np.float32(np.square(slope).sum() / before) * direction
    fitted = np.einsum("rt,ktv->krv", basis, found)
    for lookup, addition in zip(layer.layer.lookups, fitted, strict=True):
        entries = network.tables[lookup.table].entries
        entries[:] = (entries + addition).clip(-HALF, HALF)


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
    stream = batches(photos.train, config, trainer.description, rng)
    errors: list[float] = []
    for number, (phase, step) in enumerate(schedule[begun:], begun + 1):
        trainer.network.refine(phase.grids)
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
    """Return the PSNR of held-out photographs, by the model and by Lanczos or as they are.

    It is that of the planes that are cleaned; of luma where one channel after the other is read.
    """
    rng = np.random.default_rng(0)
    ours, baseline = [], []
    planes, channels = trainer.config.damage.planes, trainer.description.channels
    measured = "luma" if planes == "rgb" and channels == 1 else planes
    for path in photos[:_VALIDATED]:
        example = read_example(path, trainer.config, rng)
        inputs, targets = (
            to_images(it, channels, measured) for it in (example.damaged, example.original)
        )
        size = (targets.shape[3], targets.shape[2])
        model = trainer.to_model(example.weights)
        for image, target in zip(inputs, targets.astype(np.float32), strict=True):
            lanczos = np.stack(
                [np.asarray(Image.fromarray(it).resize(size, _LANCZOS)) for it in image]
            )
            ours.append(float(np.square(model.run(image) - target).mean()))
            baseline.append(float(np.square(lanczos - target).mean()))
    return psnr(ours), psnr(baseline)


def psnr(errors: Sequence[float]) -> float:
    """Return the PSNR in dB of mean squared errors in 8-bit levels."""
    return round(10 * math.log10(255**2 / max(float(np.mean(errors)), 1e-9)), 3)


def _share(progress: float) -> float:
    return _RATE_AT_END + (1 - _RATE_AT_END) * 0.5 * (1 + math.cos(math.pi * progress))
