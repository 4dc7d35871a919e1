from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from app.errors import BadModel, BadParameter
from app.networks.base import ThumbnailRecipe
from app.networks.store import read_store
from app.training.augment import DegradeConfig
from app.training.config import NetworkConfig, ScheduleConfig
from app.training.train import TrainConfig, TrainLosses, train
from app.training.trainer import export


@pytest.fixture
def config(pairs: Path, tmp_path: Path) -> TrainConfig:
    """Describe a small network for the pairs; the regularisation would outweigh 60 steps."""
    return TrainConfig(
        name="expert",
        licence="CC0-1.0",
        source="photos of our own",
        run=tmp_path / "run",
        store=tmp_path / "store",
        network=NetworkConfig(n=2, s=3, w=3, d=9),
        thumbnail=ThumbnailRecipe(size=64),
        batch=2,
        colours=256,
        schedule=ScheduleConfig(steps=60, rate=0.002, report=20),
        pairs=pairs,
        losses=TrainLosses(monotonicity=0.1),
        degrade=DegradeConfig(brightness=(0.8, 1.2), saturation=(0.8, 1.2)),
    )


def test_the_network_learns_what_the_expert_does(config):
    """Given targets twice as bright as inputs, held-out outputs come nearer to them."""
    train(config)

    with (config.run / "metrics.csv").open(newline="") as file:
        qualities = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert qualities[-1] > qualities[0] + 1


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(architecture="slut", n=3, m=2, s=3, w=3, d=9, levels=2),
        NetworkConfig(architecture="lut4d", n=3, s=3, w=3, d=9, levels=2),
    ],
    ids=lambda it: it.architecture,
)
def test_local_networks_learn_from_pairs(config, network):
    """Given the same pairs, networks with a map come nearer to the targets as well."""
    schedule = ScheduleConfig(steps=20, rate=0.002, report=1)
    local = {"network": network, "schedule": schedule, "thumbnail": ThumbnailRecipe()}
    train(config.model_copy(update=local))

    with (config.run / "metrics.csv").open(newline="") as file:
        qualities = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert qualities[-1] > qualities[0] + 5
    (model,) = read_store(config.store)
    assert model.card.architecture == network.architecture


def test_the_network_is_in_the_store_with_its_origin(config):
    """Given the end, the card states the data, the recipe and the figures."""
    card = train(config)

    assert [model.card for model in read_store(config.store)] == [card]
    assert card.source == "Trained here on 4 pairs: photos of our own"
    assert card.training["recipe"]["losses"] == {"smoothness": 1e-4, "monotonicity": 0.1}
    assert card.training["figures"]["step"] == 60


def test_pairs_of_different_sizes_are_refused(config):
    """Given a target that was cropped, the pair is named."""
    path = config.pairs / "target_train" / "lake.png"
    with Image.open(path) as image:
        image.crop((0, 0, 60, 64)).save(path)

    with pytest.raises(BadParameter, match=r"lake\.png differ in size"):
        train(config)


def test_there_is_nothing_to_export_before_the_first_checkpoint(tmp_path):
    """Given an empty folder, the export fails with that message."""
    with pytest.raises(BadModel, match="no checkpoint yet"):
        export(tmp_path, tmp_path / "store")
