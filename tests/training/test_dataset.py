from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.training.augment import DegradeConfig
from app.training.data import Photos, PhotosConfig, draw
from app.training.dataset import Batch, DistillationDataset, MixtureConfig
from app.training.ensemble import Teachers, TeachersConfig

DARK = DegradeConfig(exposure=(-2, -1))


@pytest.fixture
def make(teacher, small_photos: Path, tmp_path: Path):
    """Make a dataset of the small photographs and the small teacher, in batches of 4."""

    def make(**mixture: object) -> DistillationDataset:
        return DistillationDataset(
            MixtureConfig.model_validate({"taught_size": 48, **mixture}),
            Photos(PhotosConfig(folder=small_photos, held_out=3)),
            Teachers(TeachersConfig(store=tmp_path / "teachers", models={"bright": 1.0})),
            thumbnail=teacher.card.thumbnail,
            batch=4,
            colours=32,
            smallest_view=0.6,
            seed=0,
            cache=tmp_path / "cache",
        )

    return make


def spread(colours: torch.Tensor) -> float:
    """Return the largest difference between the channels."""
    return float((colours.amax(dim=-1) - colours.amin(dim=-1)).max())


def test_taught_examples_have_the_teachers_outputs(make):
    """Given a teacher that brightens, the targets are brighter than the colours."""
    batch = make(taught=DARK).batch(0)

    assert batch.thumbnails.shape == (4, 3, 64, 64)
    assert batch.colours.shape == batch.targets.shape == (4, 32, 3)
    assert (batch.targets >= batch.colours - 0.01).all()
    assert (batch.targets - batch.colours).mean() > 0.05


def test_taught_examples_may_be_what_the_teachers_would_turn_into_photographs(make):
    """Given the inverse of a teacher that brightens, examples are darker, targets as photos."""
    plain, inverted = (make(inverted=share).batch(0) for share in (0.0, 1.0))

    assert (plain.thumbnails - inverted.thumbnails).mean() > 0.05
    assert (inverted.targets - inverted.colours).mean() > 0.05
    # The photographs are the same, read at other pixels.
    assert inverted.targets.mean() == pytest.approx(plain.colours.mean().item(), abs=0.05)


def test_taught_examples_may_be_lit_locally(make):
    """Given light that differs within them, the teachers get darker images of the same views."""
    light = {"exposure": (-3.0, -1.0), "difference": 0.5, "second": 0.0}
    plain, lit = (make(taught_local=share, light=light).batch(0) for share in (0.0, 1.0))

    darker = (plain.thumbnails - lit.thumbnails).mean(dim=(1, 2, 3))
    assert (darker > 0.05).all()
    ratios = (lit.thumbnails + 0.02) / (plain.thumbnails + 0.02)
    assert (ratios.std(dim=(1, 2, 3)) > 0.02).all()
    assert (lit.targets - lit.colours).mean() > 0.03


def test_examples_to_recover_have_the_originals(make):
    """Given photographs darkened by 1 to 2 stops, the targets have that light again."""
    batch = make(recover=1.0, damaged=DARK).batch(0)

    bright = batch.colours > 0.1  # where the steps between levels are small
    stops = 2.4 * (batch.targets[bright] / batch.colours[bright]).log2()  # roughly a gamma of 2.4
    assert 0.8 < stops.median() < 2.5
    assert (batch.targets >= batch.colours).all()


def test_an_untouched_photo_is_its_own_target(make):
    """Given no damage, targets and colours are equal."""
    batch = make(recover=1.0).batch(0)

    assert torch.equal(batch.colours, batch.targets)


def test_a_batch_is_made_of_its_shares(make):
    """Given half to recover, a quarter of pages and the rest taught, each has its place."""
    dataset = make(recover=0.5, pages=0.25, damaged=DARK, taught=DARK)
    batch = dataset.batch(0)

    changes = (batch.targets - batch.colours).abs().amax(dim=(1, 2))
    assert changes[2] == 0  # the page
    assert (changes[[0, 1, 3]] > 0.02).all()
    assert not torch.equal(batch.thumbnails[0], dataset.batch(1).thumbnails[0])


def test_gray_examples_have_gray_targets(make):
    """Given that all are turned to black and white, no channel differs from another."""
    batch = make(recover=0.5, gray=1.0, damaged=DARK, taught=DARK).batch(0)

    assert spread(batch.colours) < 1e-6
    assert spread(batch.targets) < 1e-6
    assert spread(batch.thumbnails.movedim(1, -1)) < 1e-6


def test_held_out_photos_are_judged_in_three_ways(make):
    """Given three held-out photographs, each is untouched, to recover, and taught."""
    held_out = make(recover=0.5, damaged=DARK, taught=DARK).held_out

    assert {kind: len(batches) for kind, batches in held_out.items()} == {
        "untouched": 3,
        "recover": 3,
        "taught": 3,
    }
    assert all(torch.equal(it.colours, it.targets) for it in held_out["untouched"])


def alike(one: Batch, other: Batch, tolerance: float) -> bool:
    """Whether two batches are equal but for a tolerance."""
    return all(
        torch.allclose(*pair, rtol=0, atol=tolerance) for pair in zip(one, other, strict=True)
    )


def test_a_cached_batch_comes_back_as_it_was(make):
    """Given a taught batch that is cached, images are as they were, targets to half a level."""
    assert alike(make(cached=9, taught=DARK).batch(3), make(taught=DARK).batch(3), 0.003)


def test_a_bounded_number_of_batches_is_seen_again(make, tmp_path):
    """Given two cached batches, the third step sees the first one mirrored, the fifth as it was."""
    dataset = make(cached=2, taught=DARK)

    batches = [dataset.batch(step) for step in range(5)]

    assert alike(batches[4], batches[0], 0)
    assert torch.equal(batches[2].thumbnails, batches[0].thumbnails.flip(-1))
    assert torch.equal(batches[2].targets, batches[0].targets)
    assert not torch.equal(batches[0].thumbnails, batches[1].thumbnails)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["0.pt", "1.pt"]


def test_what_is_cached_is_not_computed_again(make, tmp_path):
    """Given a batch in the folder, that is what is read."""
    dataset = make(cached=2, taught=DARK)
    other = dataset.batch(1)
    (tmp_path / "cache" / "1.pt").rename(tmp_path / "cache" / "0.pt")

    assert torch.equal(dataset.batch(0).targets, other.targets)


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_each_photo_is_drawn_once_an_epoch(size):
    """Given 7 photos, whatever the batch, every 7 draws in a row from the start are all of them."""
    draws = [i for step in range(21) for i in draw(7, size, seed=0, step=step)]

    epochs = [draws[i : i + 7] for i in range(0, len(draws), 7)]

    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_draws_depend_on_the_seed_and_the_step_alone():
    """Given the same step again, the draw is the same; given another seed, it is not."""
    assert draw(50, 8, seed=1, step=30) == draw(50, 8, seed=1, step=30)
    assert draw(50, 8, seed=1, step=30) != draw(50, 8, seed=2, step=30)
