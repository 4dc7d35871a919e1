"""Lessons that are prepared once, for however many students."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

import torch

from app.training.batch import Batch
from app.training.lessons import Lessons, LessonsConfig


class KeptLessons(Lessons):
    """Lessons that keep each batch in a folder, of one recipe, from its first use on.

    All students are given what was read back, the first one too: thumbnails and colours are on
    8-bit levels and come back as they were, targets and hints in half precision.
    """

    def __init__(self, config: LessonsConfig, folder: Path) -> None:
        """Reads the photos and the teachers; makes the folder.

        Raises:
            Problem: one of them cannot be read.
        """
        super().__init__(config)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def batch(self, step: int) -> Batch:
        """The batch of a step, made if it is not kept yet."""
        step %= self._config.batches or step + 1
        path = self._folder / f"{step}.pt"
        if not path.exists():
            _write(path, super().batch(step))
        return _read(path)


def _write(path: Path, batch: Batch) -> None:
    levels = [it.mul(255.0).round().byte() for it in (batch.thumbnails, batch.colours)]
    # All at once: an interruption leaves no half of it.
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        torch.save([*levels, batch.targets.half(), batch.hints.half()], file)
    Path(file.name).replace(path)


def _read(path: Path) -> Batch:
    thumbnails, colours, *rest = torch.load(path, weights_only=True)
    return Batch(
        thumbnails.float() / 255.0, colours.float() / 255.0, *(halves.float() for halves in rest)
    )
