from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from app.networks.base import ThumbnailRecipe
from app.networks.store import read_model, read_store
from app.training.augment import DegradeConfig
from app.training.config import NetworkConfig, ScheduleConfig, new_network
from app.training.data import PhotosConfig
from app.training.dataset import MixtureConfig
from app.training.distil import DistilConfig, DistilLosses, distil
from app.training.ensemble import TeachersConfig
from app.training.local_light import LocalLightConfig
from app.training.trainer import export
from tests.helpers.networks import write_network

LEARNED = ["lake.png", "otters.png", "seeding.png"]


@pytest.fixture
def config(teacher, small_photos: Path, tmp_path: Path) -> DistilConfig:
    """Describe a small student of the small teacher."""
    return DistilConfig(
        name="student",
        licence="CC0-1.0",
        run=tmp_path / "run",
        store=tmp_path / "store",
        network=NetworkConfig(n=2, s=3, w=3, d=9),
        thumbnail=teacher.card.thumbnail,
        batch=4,
        colours=64,
        losses=DistilLosses(curvature=0.1),
        schedule=ScheduleConfig(steps=40, rate=0.01, decay=True, averaging=0.5, report=10),
        teachers=TeachersConfig(store=tmp_path / "teachers", models={"bright": 1.0}),
        photos=PhotosConfig(folder=small_photos, held_out=3),
        mixture=MixtureConfig(taught=DegradeConfig(exposure=(-2, 0)), taught_size=64),
    )


@pytest.fixture
def short(config) -> DistilConfig:
    """Describe a run of three steps, where nothing has to be learned."""
    schedule = config.schedule.model_copy(update={"steps": 3, "report": 3})
    return config.model_copy(update={"schedule": schedule})


def test_the_student_comes_nearer_to_the_teacher(config):
    """Given a few steps, its outputs on held-out photos are nearer to the teacher's."""
    distil(config)

    with (config.run / "metrics.csv").open(newline="") as file:
        qualities = [float(row["psnr_taught"]) for row in csv.DictReader(file)]
    assert qualities[-1] > qualities[0] + 1


def test_the_student_is_in_the_store_with_a_card_that_says_all(short, teacher):
    """Given the end, the store has a model that loads, its origin and its figures."""
    card = distil(short)

    [model] = read_store(short.store)
    assert model.card == card
    assert (card.model_ref, card.licence, card.lut_size) == ("student@1", "CC0-1.0", 9)
    assert "bright@1 (CC0-1.0): a test" in card.source
    assert card.training["teachers"] == {"bright@1": teacher.card.sha256}
    assert card.training["figures"]["step"] == 3
    assert [it["file"] for it in card.training["photos"]] == LEARNED


def test_the_card_names_no_place_of_this_machine(short, tmp_path):
    """Given absolute paths in the recipe, none of them is in the card."""
    assert str(tmp_path) not in distil(short).model_dump_json()


def test_fixed_matrices_end_as_they_started(short):
    """Given matrices that are not learned, they are the start's in the end, and psi is not."""
    distil(short.model_copy(update={"fixed_matrices": True}))

    [model] = read_store(short.store)
    start = new_network(**short.network.model_dump(), seed=short.seed)
    assert all(map(torch.equal, model.network.matrices, start.matrices))
    assert model.network.psi.any()


def test_a_checkpoint_can_be_exported_at_any_time(short):
    """Given a run that has ended, exporting it again is the next version of the same weights."""
    first = distil(short)

    second = export(short.run, short.store)

    assert (second.version, second.sha256) == (2, first.sha256)


def test_the_export_smooths_the_matrices(short, tmp_path):
    """Given a recipe with a smoothing, the matrices of the run are smoothed in the model alone."""
    network = short.network.model_copy(update={"smoothing": 0.2})
    smoothed = short.model_copy(update={"network": network, "store": tmp_path / "smoothed"})
    distil(smoothed)
    distil(short)

    (found,), (expected,) = (read_store(store) for store in (smoothed.store, short.store))

    difference = (found.network.strong - expected.network.strong).abs().max()
    assert difference > 0.01
    expected.network.requires_grad_(False).smooth(0.2)
    for one, other in zip(found.network.matrices, expected.network.matrices, strict=True):
        torch.testing.assert_close(one, other)


def test_a_student_may_go_on_from_another(short, tmp_path):
    """Given a model to start as and no step of any size, the student is that model."""
    first = distil(short)
    still = ScheduleConfig(steps=1, rate=0.0)
    folder = short.store / "student" / "1"
    again = distil(
        short.model_copy(
            update={"run": tmp_path / "again", "init": folder, "schedule": still, "seed": 5}
        )
    )

    one, two = (model.network.state_dict() for model in read_store(short.store))
    assert all(map(torch.equal, one.values(), two.values()))
    assert again.training["init"] == first.sha256
    assert str(tmp_path) not in again.model_dump_json()


def test_prepared_batches_are_kept_with_the_run(short):
    """Given a number of batches to prepare, so many lie in the folder of the run."""
    cached = short.mixture.model_copy(update={"cached": 3})
    distil(short.model_copy(update={"mixture": cached, "bfloat16": True}))

    assert len(list((short.run / "batches").iterdir())) == 3


def test_a_student_learns_to_undo_damage(config):
    """Given dark photographs to recover, held-out ones come nearer to what they were."""
    dark = DegradeConfig(exposure=(-1.5, -1))
    mixture = MixtureConfig(recover=1.0, damaged=dark, taught_size=64)
    distil(config.model_copy(update={"mixture": mixture}))

    with (config.run / "metrics.csv").open(newline="") as file:
        qualities = [float(row["psnr_recover"]) for row in csv.DictReader(file)]
    assert qualities[-1] > qualities[0] + 1


@pytest.fixture
def local(config, tmp_path) -> DistilConfig:
    """Describe a local student that starts from a small global one."""
    whole = ThumbnailRecipe()
    first = new_network(n=2, s=3, w=3, d=9, seed=1)
    torch.nn.init.normal_(first.psi, std=0.02, generator=torch.Generator().manual_seed(1))
    write_network(tmp_path / "global", first, "first")
    network = NetworkConfig(architecture="slut", n=3, m=2, s=3, w=3, d=9, levels=2)
    light = LocalLightConfig(exposure=(-3, 0), difference=2, second=0, drawn=0, damaged=0)
    mixture = MixtureConfig(local=1.0, light=light, taught_size=64)
    schedule = ScheduleConfig(steps=20, rate=0.001, decay=True, averaging=0.5, report=20)
    return config.model_copy(
        update={
            "thumbnail": whole,
            "init": tmp_path / "global" / "first" / "1",
            "network": network,
            "mixture": mixture,
            "schedule": schedule,
        }
    )


@pytest.mark.slow
def test_a_local_student_learns_local_light(local, tmp_path):
    """Given light that differs within photographs, held-out ones come nearer to what they were."""
    unmoved = ScheduleConfig(steps=1, rate=0.0, report=1)
    start = local.model_copy(update={"run": tmp_path / "start", "schedule": unmoved})

    # They gain 3.5 dB; further steps gain little more, and any of them may lose half of one.
    assert measure_local(local) > measure_local(start) + 2.0


def measure_local(config: DistilConfig) -> float:
    """Train, and return the last PSNR in local light."""
    distil(config)
    with (config.run / "metrics.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    return float(last["psnr_local"])


def test_a_local_student_starts_as_the_global_one(local):
    """Given no step of any size, the first table is that of the start, and the last brighter."""
    distil(local.model_copy(update={"schedule": ScheduleConfig(steps=1, rate=0.0)}))

    first, student = read_model(local.init).network, read_store(local.store)[0].network
    thumbnails = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        kept, brighter = student(thumbnails).table.split(3, dim=1)
        expected = first(thumbnails).table
    torch.testing.assert_close(kept, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        brighter - expected, 0.5 * first.identity.expand(2, -1, -1, -1, -1), rtol=0, atol=1e-4
    )
