from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.training.config import NetworkConfig
from app.training.degrade import DegradeConfig
from app.training.kept import KeptLessons
from app.training.lessons import Lessons, LessonsConfig
from app.training.photos import PhotosConfig
from app.training.trainer import ScheduleConfig


@pytest.fixture
def config(teacher, small_photos: Path, tmp_path: Path) -> LessonsConfig:
    """Lessons of the little teacher."""
    return LessonsConfig(
        name="any",
        licence="CC0-1.0",
        run=tmp_path / "run",
        network=NetworkConfig(n=1, d=5),
        thumbnail=teacher.card.thumbnail,
        batch=2,
        colours=32,
        schedule=ScheduleConfig(steps=1),
        teachers={"bright": 1.0},
        teacher_store=tmp_path / "teachers",
        photos=PhotosConfig(folder=small_photos, held_out=2),
        degrade=DegradeConfig(exposure=(-2, 0)),
    )


def test_a_batch_comes_back_as_it_was(config, tmp_path):
    """Given a batch that is kept, images are equal but for rounding, answers to half a level."""
    kept, plain = KeptLessons(config, tmp_path / "kept").batch(3), Lessons(config).batch(3)

    assert torch.allclose(kept.thumbnails, plain.thumbnails, rtol=0, atol=1e-5)
    assert torch.allclose(kept.colours, plain.colours, rtol=0, atol=1e-5)
    assert torch.allclose(kept.targets, plain.targets, rtol=0, atol=0.0005)


def test_the_first_student_is_given_the_same_as_the_second(config, tmp_path):
    """Given one step asked for twice, both batches are read from one file."""
    lessons = KeptLessons(config, tmp_path / "kept")

    first, second = lessons.batch(0), lessons.batch(0)

    assert all(map(torch.equal, first, second))


def test_what_is_kept_is_not_answered_again(config, tmp_path):
    """Given a batch in the folder, that is what is answered with."""
    lessons = KeptLessons(config, tmp_path / "kept")
    other = lessons.batch(1)
    (tmp_path / "kept" / "1.pt").rename(tmp_path / "kept" / "0.pt")

    assert torch.equal(lessons.batch(0).targets, other.targets)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["0.pt"]


def test_a_bounded_number_of_batches_comes_round_again(config, tmp_path):
    """Given two batches in all, the third step sees the first one, and no more are kept."""
    bounded = config.model_copy(update={"batches": 2})
    lessons = KeptLessons(bounded, tmp_path / "kept")

    batches = [lessons.batch(step) for step in range(5)]

    assert all(map(torch.equal, batches[4], batches[0]))
    assert not torch.equal(batches[0].thumbnails, batches[1].thumbnails)
    assert len(list((tmp_path / "kept").iterdir())) == 2
