"""Images per second in training: `python -m benchmarks.training PHOTOS TEACHERS`.

The training of this project (random pixels, images decoded once, batches of 16, a second process
that prepares them, cached batches) and the plain loop of the method's published code: one image at
a time, read from its file, and every pixel of it interpolated. Student, teachers and losses are the
same, and both may use all cores. PHOTOS is a folder, TEACHERS a model store.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from loky import cpu_count
from torch.optim import Adam
from torch.utils.data import DataLoader, Dataset

from app.networks.lut_ops import trilinear
from app.networks.store import read_store
from app.training.augment import random_degradation, random_view, resize_square
from app.training.config import new_network, read_config
from app.training.data import Photos, as_planes, photo_files, read_photo
from app.training.dataset import MixtureConfig
from app.training.distil import DistilConfig, Distillation, make_dataset
from app.training.ensemble import Teachers, TeachersConfig
from app.training.losses import colour_loss

RECIPE = Path(__file__).parents[1] / "app" / "training" / "recipes" / "default.toml"
SECONDS = 30.0


def measure_plain(config: DistilConfig) -> float:
    """Return the images per second of the plain loop."""
    torch.set_num_threads(cpu_count())
    teachers = [model.network for model in read_store(config.teachers.store)]
    network = new_network(**config.network.model_dump(), seed=0)
    optimizer = Adam(network.parameters())
    rng = np.random.default_rng(0)
    start = time.monotonic()
    for done, path in enumerate(cycle(photo_files(config.photos.folder))):
        view = random_view(as_planes(read_photo(path)), config.smallest_view, rng)
        image = random_degradation(config.mixture.taught, rng)(view)
        small = resize_square(image, 256, antialias=False)[None]
        colours = image.flatten(1).T[None]
        with torch.no_grad():
            outputs = [trilinear(it(small), colours).clamp(0, 1) for it in teachers]
            target = torch.stack(outputs).mean(dim=0)
        loss = colour_loss(trilinear(network(small), colours), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if time.monotonic() - start > SECONDS:
            return done / (time.monotonic() - start)
    raise AssertionError("cycle never ends")


def measure_training(config: DistilConfig, cache: Path) -> float:
    """Return the images per second of our steps, with a second process for the batches."""
    torch.set_num_threads(1)
    photos, teachers = Photos(config.photos), Teachers(config.teachers)
    task = Distillation(config, make_dataset(config, photos, teachers, cache))
    for step in range(config.mixture.cached or 0):
        task.batch(step)
    optimizer = Adam(task.network.parameters())
    batches = iter(DataLoader(_Steps(task), batch_size=None, num_workers=1))
    next(batches)  # starts the process
    start, done = time.monotonic(), 0
    for batch in batches:
        optimizer.zero_grad()
        task.loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        done += config.batch
        if time.monotonic() - start > SECONDS:
            break
    return done / (time.monotonic() - start)


class _Steps(Dataset[object]):
    """A task's batches, without end."""

    def __init__(self, task: Distillation) -> None:
        self._task = task

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, step: int) -> object:
        return self._task.batch(step)


def main(photos: Path, store: Path) -> None:
    """Measure and print."""
    names = {model.card.name: 1.0 for model in read_store(store)}
    recipe = read_config(RECIPE, DistilConfig)
    taught = recipe.mixture.taught

    def variant(cached: int | None) -> DistilConfig:
        return recipe.model_copy(
            update={
                "photos": recipe.photos.model_copy(update={"folder": photos, "inventory": None}),
                "teachers": TeachersConfig(store=store, models=names),
                "mixture": MixtureConfig(taught=taught, cached=cached),
                "init": None,
            }
        )

    with tempfile.TemporaryDirectory() as folder:
        before = measure_plain(variant(None))
        fresh = measure_training(variant(None), Path(folder))
        again = measure_training(variant(8), Path(folder))
    print("| | images/s | relative |")
    print("|---|---:|---:|")
    print(f"| every pixel, one at a time | {before:.1f} | 1 |")
    print(f"| this project, new batches | {fresh:.1f} | {fresh / before:.1f} |")
    print(f"| this project, cached batches | {again:.1f} | {again / before:.1f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
