from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from app.errors import BadParameter, UnknownModel
from app.networks.store import read_store
from app.training.config import NetworkConfig
from app.training.degrade import DegradeConfig
from app.training.distil import DistilConfig, Distillation, DistilLosses, distil
from app.training.export import export
from app.training.lessons import Lessons
from app.training.photos import PhotosConfig
from app.training.start import new_network
from app.training.trainer import ScheduleConfig, Trainer


@pytest.fixture
def config(teacher, small_photos: Path, tmp_path: Path) -> DistilConfig:
    """A little student of the little teacher."""
    return DistilConfig(
        name="student",
        licence="CC0-1.0",
        run=tmp_path / "run",
        store=tmp_path / "store",
        network=NetworkConfig(n=2, s=3, w=3, d=9),
        thumbnail=teacher.card.thumbnail,
        batch=4,
        colours=64,
        losses=DistilLosses(bending=0.1),
        schedule=ScheduleConfig(steps=40, rate=0.01, decay=True, averaging=0.5, report=10),
        teachers={"bright": 1.0},
        teacher_store=tmp_path / "teachers",
        photos=PhotosConfig(folder=small_photos, held_out=2),
        degrade=DegradeConfig(exposure=(-2, 0)),
    )


def test_the_student_comes_nearer_to_the_teacher(config):
    """Given a few steps, its answers on held-out photos are nearer to the teacher's."""
    distil(config)

    with (config.run / "metrics.csv").open(newline="") as file:
        qualities = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert qualities[-1] > qualities[0] + 1


def test_the_student_is_in_the_store_with_a_card_that_says_all(config, teacher):
    """Given the end, the store has a model that loads, its origin and its figures."""
    card = distil(config)

    [model] = read_store(config.store)
    assert model.card == card
    assert (card.model_ref, card.licence, card.lut_size) == ("student@1", "CC0-1.0", 9)
    assert "bright@1 (CC0-1.0): a test" in card.source
    assert card.training["teachers"] == {"bright@1": teacher.card.sha256}
    assert card.training["figures"]["step"] == 40
    assert card.training["photos"] == {"unknown": 6}


def test_the_card_names_no_place_of_this_machine(config, tmp_path):
    """Given absolute paths in the recipe, none of them is in the card."""
    assert str(tmp_path) not in distil(config).model_dump_json()


def test_fixed_matrices_end_as_they_started(config):
    """Given matrices that are not learned, they are the start's in the end, and psi is not."""
    distil(config.model_copy(update={"fixed_matrices": True}))

    [model] = read_store(config.store)
    start = new_network(**config.network.model_dump(), seed=config.seed)
    assert all(map(torch.equal, model.network.matrices, start.matrices))
    assert model.network.psi.any()


def test_a_checkpoint_can_be_exported_at_any_time(config):
    """Given a run that has ended, exporting it again is the next version of the same weights."""
    first = distil(config)

    second = export(config.run, config.store)

    assert (second.version, second.sha256) == (2, first.sha256)


def test_a_teacher_that_is_not_there_is_named(config):
    """Given a name that the store does not have, it is named; given no store, that is said."""
    with pytest.raises(UnknownModel, match="wise"):
        distil(config.model_copy(update={"teachers": {"wise": 1.0}}))
    with pytest.raises(BadParameter, match="no models"):
        distil(config.model_copy(update={"teacher_store": config.store}))


def test_a_student_may_go_on_from_another(config, tmp_path):
    """Given a model to start as and no step of any size, the student is that model."""
    first = distil(config)
    still = ScheduleConfig(steps=1, rate=0.0)
    folder = config.store / "student" / "1"
    again = distil(
        config.model_copy(
            update={"run": tmp_path / "again", "start": folder, "schedule": still, "seed": 5}
        )
    )

    one, two = (model.network.state_dict() for model in read_store(config.store))
    assert all(map(torch.equal, one.values(), two.values()))
    assert again.training["start"] == first.sha256
    assert str(tmp_path) not in again.model_dump_json()


def test_hints_are_learned_to_be_read(config, teacher):
    """Given hints alone, the student's features tell what the teacher's tell, better and better."""
    hinted = config.model_copy(update={"losses": DistilLosses(hints=1.0, tables=1)})
    lessons = Lessons(hinted)
    task = Distillation(hinted, lessons)

    def error() -> float:
        batch = lessons.batch(0)
        with torch.no_grad():
            return float(task.scaffold(task.network.features(batch.thumbnails), batch.hints))

    before = error()
    Trainer(task, hinted.schedule, hinted.run).run()
    assert error() < 0.8 * before


def test_prepared_batches_are_kept_with_the_run(config):
    """Given a number of batches to prepare, so many lie in the folder of the run."""
    distil(config.model_copy(update={"batches": 3, "bfloat16": True}))

    assert len(list((config.run / "batches").iterdir())) == 3
