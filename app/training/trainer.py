"""The training loop, its checkpoints, and the model made of the last one."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from statistics import fmean
from time import monotonic
from typing import Any, NoReturn, Protocol

import torch
from loky import cpu_count
from pydantic import BaseModel, ConfigDict
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, Dataset

from app.errors import BadModel, TrainingDiverged
from app.networks.base import LutBatch, Network, ThumbnailRecipe
from app.networks.clutnet import ClutNet
from app.networks.lut_ops import apply_local
from app.networks.store import ModelCard, write_model
from app.training.config import NetworkConfig, ScheduleConfig
from app.training.data import save_whole
from app.training.dataset import Batch

_CHECKPOINT = "checkpoint.pt"
_DRAFT = "card-draft.json"
_FIGURES = "loss {loss:.4f}, {psnr:.2f} dB, {photos_per_second} photos/s"
_COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[figures]}"),
    TimeRemainingColumn(),
)


class Task(Protocol):
    """A network, its examples and its loss.

    Attributes:
        network: the network to train.
        batch_size: the number of images in a batch.
        held_out: batches to validate on, by the name of their kind.
    """

    network: ClutNet
    batch_size: int
    held_out: dict[str, list[Batch]]

    def batch(self, step: int) -> Batch:
        """Return the examples of a step: the same ones for every call."""

    def loss(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch: a scalar."""


@torch.no_grad()
def psnr(network: Callable[[Tensor], LutBatch], batches: Iterable[Batch]) -> float:
    """Compute the PSNR of the network's outputs to the targets, in dB, the mean over images."""
    errors = []
    for batch in batches:
        outputs = apply_local(network(batch.thumbnails), batch.colours, batch.places)
        outputs = outputs.clamp(0.0, 1.0)
        errors.append((outputs - batch.targets).square().mean(dim=(1, 2)))
    # 60 dB is the most that counts: of an untouched image the error may be zero.
    return -10.0 * torch.cat(errors).clamp(min=1e-6).log10().mean().item()


def validate(network: Network, held_out: dict[str, list[Batch]]) -> dict[str, float]:
    """Compute the PSNR for each kind of held-out batches, and the mean of these."""
    kinds = {f"psnr_{kind}": psnr(network, batches) for kind, batches in held_out.items()}
    return {"psnr": fmean(kinds.values()), **kinds}


class Board(Protocol):
    """Shows the figures of a training while it runs."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Show a figure of a step."""


def _board(folder: Path) -> Board | None:
    """TensorBoard's, where it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    board: Board = SummaryWriter(folder)
    return board


class _Examples(Dataset[Batch]):
    """A task's batches from one step to another."""

    def __init__(self, task: Task, start: int, end: int) -> None:
        self._task, self._start, self._end = task, start, end

    def __len__(self) -> int:
        return self._end - self._start

    def __getitem__(self, index: int) -> Batch:
        return self._task.batch(self._start + index)


class Trainer:
    """Trains to the end of the schedule, going on from the checkpoint in the folder.

    All that is random depends on the seed and the number of the step alone, so that a run that
    was interrupted has the same curve as one that was not: `metrics.csv` in the folder.
    """

    def __init__(self, task: Task, schedule: ScheduleConfig, folder: Path) -> None:
        self._task, self._schedule, self._folder = task, schedule, folder
        self._average = deepcopy(task.network)
        self._optimizer = Adam(task.network.parameters(), fused=True)
        self._board: Board | None = None
        self._step = 0
        self._rows: list[dict[str, float]] = []

    def run(self) -> None:
        """Trains.

        Raises:
            TrainingDiverged: a loss is not finite; its batch is in the folder.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._board = _board(self._folder)
        schedule = self._schedule
        # Those of one operation wait for each other: without a core each, all wait for the last.
        torch.set_num_threads(max(1, cpu_count() - schedule.workers))
        examples = _Examples(self._task, self._step, schedule.steps)
        batches = iter(DataLoader(examples, batch_size=None, num_workers=schedule.workers))
        with Progress(*_COLUMNS) as progress:
            bar = progress.add_task("", total=self._schedule.steps, figures="")
            while self._step < self._schedule.steps:
                start = monotonic()
                losses = []
                for batch in islice(batches, self._until_report()):
                    losses.append(self._learn(batch))
                    progress.update(bar, completed=self._step)
                steps_per_second = len(losses) / (monotonic() - start)
                self._report(fmean(losses), steps_per_second * self._task.batch_size)
                self._save()
                progress.update(bar, figures=_FIGURES.format_map(self._rows[-1]))

    def _until_report(self) -> int:
        every = self._schedule.report
        return min(every - self._step % every, self._schedule.steps - self._step)

    def _learn(self, batch: Batch) -> float:
        loss = self._task.loss(batch)
        if not loss.isfinite():
            self._give_up(batch)
        self._optimizer.param_groups[0]["lr"] = self._schedule.rate_at(self._step)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._optimizer.step()
        self._step += 1
        self._update_average()
        return loss.item()

    @torch.no_grad()
    def _update_average(self) -> None:
        # At first the past is short: without the second bound the start would stay in it.
        past = min(self._schedule.averaging, (self._step - 1) / (self._step + 9))
        pairs = zip(self._average.parameters(), self._task.network.parameters(), strict=True)
        for mean, latest in pairs:
            mean.lerp_(latest, 1.0 - past)

    def _give_up(self, batch: Batch) -> NoReturn:
        path = self._folder / "failed-batch.pt"
        torch.save(batch._asdict(), path)
        raise TrainingDiverged(f"The loss of step {self._step} is not finite. Its batch: {path}")

    def _report(self, loss: float, photos_per_second: float) -> None:
        """Validate, and write a line of the metrics."""
        row = {
            "step": self._step,
            "loss": loss,
            **validate(self._average, self._task.held_out),
            "photos_per_second": round(photos_per_second, 1),
        }
        self._rows.append(row)
        with (self._folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerows(self._rows)
        if self._board is not None:
            for name in row.keys() - {"step"}:
                self._board.add_scalar(name, row[name], self._step)

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts.items()}
        write_checkpoint(self._folder, state | {"step": self._step, "rows": self._rows})

    def _resume(self) -> None:
        state = read_checkpoint(self._folder)
        if state is not None:
            self._step, self._rows = state["step"], state["rows"]
            for name, part in self._parts.items():
                part.load_state_dict(state[name])

    @property
    def _parts(self) -> dict[str, nn.Module | Adam]:
        """The parts with a state, by their names in a checkpoint."""
        return {
            "network": self._task.network,
            "average": self._average,
            "optimizer": self._optimizer,
        }


class CardDraft(BaseModel):
    """The part of the model card that is known before training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    licence: str
    source: str
    thumbnail: ThumbnailRecipe
    network: NetworkConfig
    training: dict[str, Any]

    def write(self, run: Path) -> None:
        """Write the draft into the folder of a run."""
        run.mkdir(parents=True, exist_ok=True)
        (run / _DRAFT).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint of a folder, at once: an interruption leaves the old one."""
    save_whole(folder / _CHECKPOINT, state)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read the checkpoint of a folder; None if there is none.

    Raises:
        BadModel: it cannot be read.
    """
    path = folder / _CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise BadModel(f"{path}: not a checkpoint that can be read ({error})") from error
    return state


def export(run: Path, store: Path) -> ModelCard:
    """Write the network of a run's last checkpoint into a model store; the run may continue.

    Raises:
        BadModel: there is no checkpoint yet, or it cannot be read.
    """
    state = read_checkpoint(run)
    if state is None:
        raise BadModel(f"{run}: no checkpoint yet")
    draft = CardDraft.model_validate_json((run / _DRAFT).read_bytes())
    network = draft.network.build()
    network.load_state_dict(network.state_dict() | state["average"])  # which lacks the restraint
    network.smooth(draft.network.smoothing)
    network.set_restraint()
    return write_model(
        store,
        network,
        name=draft.name,
        licence=draft.licence,
        source=draft.source,
        thumbnail=draft.thumbnail,
        training=draft.training | {"figures": state["rows"][-1]},
    )
