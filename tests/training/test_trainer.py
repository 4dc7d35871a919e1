from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from app.errors import BadModel, TrainingDiverged
from app.networks.lut_ops import trilinear
from app.training.config import ScheduleConfig, new_network
from app.training.dataset import Batch
from app.training.losses import colour_loss
from app.training.trainer import Trainer, psnr, read_checkpoint

SCHEDULE = ScheduleConfig(steps=10, rate=0.01, warmup=2, decay=True, averaging=0.9, report=2)


class Brighten:
    """The task of making every colour a little brighter; it may fail at a step."""

    batch_size = 2

    def __init__(self, failure: BaseException | float | None = None, at: int = 5) -> None:
        self.network = new_network(n=2, s=2, w=3, d=5, seed=0)
        self.failure, self.at = failure, at
        self.held_out = {"any": [self.batch(1000)]}

    def batch(self, step: int) -> Batch:
        if step == self.at and isinstance(self.failure, BaseException):
            raise self.failure
        generator = torch.Generator().manual_seed(step)
        colours = torch.rand(2, 32, 3, generator=generator) * 0.8
        targets = colours + 0.1
        if step == self.at and isinstance(self.failure, float):
            targets[0, 0, 0] = self.failure
        thumbnails = torch.rand(2, 3, 64, 64, generator=generator)
        return Batch(thumbnails, colours, targets, places=torch.rand(2, 32, 2))

    def loss(self, batch: Batch) -> torch.Tensor:
        return colour_loss(trilinear(self.network(batch.thumbnails), batch.colours), batch.targets)


def curve(folder: Path) -> list[tuple[int, float, float]]:
    """Read step, loss and PSNR from each line of the metrics."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(int(row["step"]), float(row["loss"]), float(row["psnr"])) for row in rows]


def alike(expected: list[tuple[int, float, float]]) -> list[object]:
    """Allow for rounding, which depends on the alignment of tensors: relative 1e-5 in ten steps."""
    return [
        (step, pytest.approx(loss, rel=1e-5), pytest.approx(psnr, rel=1e-5))
        for step, loss, psnr in expected
    ]


def test_training_lowers_the_loss(tmp_path):
    """Given an easy task, the loss falls."""
    Trainer(Brighten(), SCHEDULE.model_copy(update={"steps": 60, "report": 20}), tmp_path).run()

    losses = [loss for _, loss, _ in curve(tmp_path)]
    assert losses[-1] < losses[0] * 0.7


def test_figures_can_be_watched(tmp_path):
    """Given TensorBoard is installed, its events hold what metrics.csv holds."""
    Trainer(Brighten(), SCHEDULE, tmp_path).run()

    events = EventAccumulator(str(tmp_path)).Reload()
    watched = [(event.step, event.value) for event in events.Scalars("psnr")]
    written = [(step, psnr) for step, _, psnr in curve(tmp_path)]
    assert watched == [(step, pytest.approx(psnr)) for step, psnr in written]


def test_batches_prepared_ahead_give_the_same_curve(tmp_path):
    """Given a second process that prepares the batches, the metrics are equal but for rounding."""
    for workers in (0, 1):
        schedule = SCHEDULE.model_copy(update={"workers": workers})
        Trainer(Brighten(), schedule, tmp_path / str(workers)).run()

    assert curve(tmp_path / "0") == alike(curve(tmp_path / "1"))


def test_the_same_seed_gives_the_same_curve(tmp_path):
    """Given the same run twice, the metrics are equal but for rounding."""
    for name in ("a", "b"):
        Trainer(Brighten(), SCHEDULE, tmp_path / name).run()

    assert curve(tmp_path / "a") == alike(curve(tmp_path / "b"))
    assert [step for step, *_ in curve(tmp_path / "a")] == [2, 4, 6, 8, 10]


def test_a_run_that_was_interrupted_goes_on_with_the_same_curve(tmp_path):
    """Given Ctrl-C after step 5, the next run begins at the checkpoint of step 4 and ends alike."""
    Trainer(Brighten(), SCHEDULE, tmp_path / "whole").run()

    with pytest.raises(KeyboardInterrupt):
        Trainer(Brighten(KeyboardInterrupt()), SCHEDULE, tmp_path / "broken").run()
    assert read_checkpoint(tmp_path / "broken")["step"] == 4
    Trainer(Brighten(), SCHEDULE, tmp_path / "broken").run()

    assert curve(tmp_path / "broken") == alike(curve(tmp_path / "whole"))


def test_a_run_that_is_done_stays_as_it_is(tmp_path):
    """Given the end of the schedule, running again learns nothing more."""
    Trainer(Brighten(), SCHEDULE, tmp_path).run()
    done = (tmp_path / "checkpoint.pt").read_bytes()

    Trainer(Brighten(), SCHEDULE, tmp_path).run()

    assert (tmp_path / "checkpoint.pt").read_bytes() == done


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_its_batch(tmp_path, value):
    """Given a bad number at step 5, the step and the batch are there to be looked at."""
    with pytest.raises(TrainingDiverged, match="step 5"):
        Trainer(Brighten(value), SCHEDULE, tmp_path).run()

    batch = torch.load(tmp_path / "failed-batch.pt", weights_only=True)
    assert not batch["targets"][0, 0, 0].isfinite()
    assert read_checkpoint(tmp_path)["step"] == 4


def test_a_damaged_checkpoint_is_named(tmp_path):
    """Given half a checkpoint, it is rejected, not trained over."""
    Trainer(Brighten(), SCHEDULE, tmp_path).run()
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(BadModel, match=r"checkpoint\.pt"):
        Trainer(Brighten(), SCHEDULE, tmp_path).run()


def test_the_average_is_not_drowned_by_the_start(tmp_path):
    """Given an average over a long past and few steps, it still is near the weights."""
    task = Brighten()
    Trainer(task, SCHEDULE.model_copy(update={"averaging": 0.999}), tmp_path).run()

    average = read_checkpoint(tmp_path)["average"]["psi"]

    assert not torch.equal(average, task.network.psi)
    assert torch.dist(average, task.network.psi) < task.network.psi.norm() / 5


def test_without_averaging_the_weights_themselves_are_kept(tmp_path):
    """Given an averaging of 0, the average is the network."""
    task = Brighten()
    Trainer(task, SCHEDULE.model_copy(update={"averaging": 0.0}), tmp_path).run()

    assert torch.equal(read_checkpoint(tmp_path)["average"]["psi"], task.network.psi)


def test_the_rate_rises_then_falls_along_a_cosine():
    """Given two steps of warm-up of ten: a third at first, half at the middle, 0 at the end."""
    schedule = ScheduleConfig(steps=10, rate=1.0, warmup=2, decay=True)

    assert schedule.rate_at(0) == pytest.approx(1 / 3)
    assert schedule.rate_at(5) == pytest.approx(1 / 2)
    assert schedule.rate_at(10) == pytest.approx(0)


def test_a_rate_without_decay_stays():
    """Given no warm-up and no decay, the rate is the same throughout."""
    schedule = ScheduleConfig(steps=10, rate=1e-4)

    assert {schedule.rate_at(step) for step in range(10)} == {1e-4}


def test_psnr_is_the_mean_over_photos_in_decibels():
    """Given the identity, and targets off by 0.1 and by 0.01, the mean of 20 and 40 dB is 30."""
    network = new_network(n=1, s=2, w=2, d=3, seed=0)
    colours = torch.full((2, 5, 3), 0.5)
    targets = colours + torch.tensor([0.1, 0.01])[:, None, None]

    batch = Batch(torch.rand(2, 3, 64, 64), colours, targets, places=torch.rand(2, 5, 2))
    assert psnr(network, [batch]) == pytest.approx(30, abs=1e-3)
