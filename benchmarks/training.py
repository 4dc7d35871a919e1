"""Photographs a second in training: `python -m benchmarks.training PHOTOS TEACHERS`.

Our pipeline (random pixels, photos decoded once, batches of 16, a second process that prepares
them, prepared batches seen again) against the plain loop of the method's own code: one photograph
at a time, read from its file, and every pixel of it through grid_sample. Student, teachers and
losses are the same, and both may use all cores. PHOTOS is a folder, TEACHERS a model store.
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
from torch.nn import functional
from torch.optim import Adam
from torch.utils.data import DataLoader

from app.networks.base import LutBatch
from app.networks.store import read_store
from app.training.config import read_config
from app.training.degrade import random_degradation
from app.training.distil import DistilConfig, Distillation
from app.training.kept import KeptLessons
from app.training.lessons import Lessons
from app.training.losses import colour_loss
from app.training.photos import as_planes, photo_files, read_photo
from app.training.start import new_network
from app.training.views import random_view, squeezed

RECIPE = Path(__file__).parents[1] / "app" / "training" / "recipes" / "distil-default.toml"
SECONDS = 30.0


def through(tables: LutBatch, images: torch.Tensor) -> torch.Tensor:
    """Images (1, 3, H, W) in 0..1 through one table by grid_sample."""
    if tables.shaper is not None:  # curves over 0..1, evenly spaced
        places = images[0].flatten(1)[:, None, None] * 2 - 1
        grid = torch.stack((places, torch.zeros_like(places)), dim=-1).squeeze(2)
        curves = tables.shaper[0][:, None, None]
        shaped = functional.grid_sample(curves, grid, padding_mode="border", align_corners=True)
        images = shaped.view(1, 3, *images.shape[2:])
    grid = images.permute(0, 2, 3, 1)[:, None] * 2 - 1  # (1, 1, H, W, 3)
    answer = functional.grid_sample(tables.table, grid, padding_mode="border", align_corners=True)
    return answer[:, :, 0]


def plain(config: DistilConfig) -> float:
    """Photographs a second of the plain loop."""
    torch.set_num_threads(cpu_count())
    teachers = [model.network for model in read_store(config.teacher_store)]
    network = new_network(**config.network.model_dump(), seed=0)
    optimizer = Adam(network.parameters())
    rng = np.random.default_rng(0)
    begun = time.monotonic()
    for done, path in enumerate(cycle(photo_files(config.photos.folder))):
        view = random_view(as_planes(read_photo(path)), config.smallest_view, rng)
        image = random_degradation(config.degrade, rng)(view)[None]
        small = squeezed(image[0], 256, antialias=False)[None]
        with torch.no_grad():
            answers = [through(it(small), image).clamp(0, 1) for it in teachers]
            target = torch.stack(answers).mean(dim=0)
        loss = colour_loss(through(network(small), image).movedim(1, -1), target.movedim(1, -1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if time.monotonic() - begun > SECONDS:
            return done / (time.monotonic() - begun)
    raise AssertionError("cycle never ends")


def ours(config: DistilConfig, lessons: Lessons) -> float:
    """Photographs a second of our steps, with a second process for the batches."""
    torch.set_num_threads(1)
    task = Distillation(config, lessons)
    optimizer = Adam([*task.network.parameters(), *task.scaffold.parameters()])
    steps = _Steps(task)
    batches = iter(DataLoader(steps, batch_size=None, num_workers=config.schedule.workers))
    next(batches)  # the process has started
    begun, done = time.monotonic(), 0
    for batch in batches:
        optimizer.zero_grad()
        task.loss(batch).backward()
        optimizer.step()
        done += config.batch
        if time.monotonic() - begun > SECONDS:
            break
    return done / (time.monotonic() - begun)


class _Steps(torch.utils.data.Dataset):
    """A task's batches, without end."""

    def __init__(self, task: Distillation) -> None:
        self._task = task

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, step: int) -> object:
        return self._task.batch(step)


def main(photos: Path, teachers: Path) -> None:
    """Measures and prints."""
    config = read_config(RECIPE, DistilConfig)
    with tempfile.TemporaryDirectory() as folder:
        config = config.model_copy(
            update={
                "photos": config.photos.model_copy(
                    update={"folder": photos, "inventory": None, "held_out": 2}
                ),
                "teacher_store": teachers,
                "start": None,
            }
        )
        before = plain(config)
        fresh = ours(config, Lessons(config))
        few = KeptLessons(config.model_copy(update={"batches": 8}), Path(folder))
        for step in range(8):
            few.batch(step)
        again = ours(config, few)
    print("| | photographs/s | times the plain loop |")
    print("|---|---:|---:|")
    print(f"| every pixel, one at a time | {before:.1f} | 1 |")
    print(f"| ours, new batches | {fresh:.1f} | {fresh / before:.1f} |")
    print(f"| ours, prepared batches | {again:.1f} | {again / before:.1f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
