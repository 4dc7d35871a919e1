"""The gate between two networks: it opens where the local one is better."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from app.errors import BadModel
from app.networks.base import ThumbnailRecipe
from app.networks.gated import GatedSlut
from app.networks.store import Model, read_model
from app.training.augment import DegradeConfig, make_degradation
from app.training.config import ScheduleConfig, new_network
from app.training.data import Photos, PhotosConfig, as_planes, read_photo
from app.training.dataset import MixtureConfig
from app.training.ensemble import TeachersConfig
from app.training.gate import GateConfig, fit_gate
from tests.helpers.networks import write_network

SIZES = {"s": 3, "w": 3, "d": 9, "colours": 4}
DARKER = 0.35  # of which the local network undoes a part


@pytest.fixture
def config(teacher: Model, small_photos: Path, tmp_path: Path) -> GateConfig:
    """Join a network that changes nothing, and one that brightens everything by a half."""
    models = tmp_path / "models"
    write_network(models, new_network(n=2, seed=0, **SIZES), "same")
    bright = new_network(architecture="slut", n=3, m=2, levels=2, seed=1, **SIZES)
    with torch.no_grad():
        bright.get_parameter("shares.bias").copy_(torch.tensor([-9.0, -9.0, 0.0, 0.0]))
    write_network(models, bright, "bright")
    damaged = DegradeConfig(untouched=0.5, brightness=(DARKER, DARKER))
    return GateConfig(
        name="gated",
        licence="CC0-1.0",
        run=tmp_path / "run",
        store=tmp_path / "store",
        overall=models / "same" / "1",
        local=models / "bright" / "1",
        batch=8,
        colours=256,
        photos=PhotosConfig(folder=small_photos, held_out=3),
        teachers=TeachersConfig(store=tmp_path / "teachers", models={teacher.card.name: 1.0}),
        mixture=MixtureConfig(recover=1.0, damaged=damaged),
        schedule=ScheduleConfig(steps=16),
        rounds=50,
    )


def open_share(network: GatedSlut, thumbnails: Tensor) -> Tensor:
    """Return how far the gate is open (B,) for thumbnails."""
    with torch.no_grad():
        _, _, inputs = network.parts(network.features(thumbnails))
        return torch.sigmoid(network.gate(inputs))[:, 0]


def test_the_gate_opens_where_the_local_network_is_better(config: GateConfig) -> None:
    """On photographs that it was not fitted on, dark ones open it, and others close it."""
    card = fit_gate(config)

    assert (card.model_ref, card.architecture) == ("gated@1", "gated_slut")
    assert set(card.training["joined"]) == {"same@1", "bright@1"}
    network = read_model(config.store / "gated" / "1").network
    assert isinstance(network, GatedSlut)
    size = ThumbnailRecipe().size
    for path in Photos(config.photos).held_out:
        photo = torch.nn.functional.interpolate(as_planes(read_photo(path))[None], size)
        dark = make_degradation(brightness=DARKER)(photo[0])[None]
        (shut,), (opened,) = (open_share(network, it) for it in (photo / 255.0, dark))
        assert shut < 0.3
        assert opened > 0.7


def test_a_joined_network_is_taken_again(config: GateConfig) -> None:
    """Beside another global network, the local one of a joined model is the same."""
    short = config.model_copy(update={"rounds": 1, "schedule": ScheduleConfig(steps=1)})
    fit_gate(short)
    card = fit_gate(short.model_copy(update={"local": config.store / "gated" / "1"}))

    assert set(card.training["joined"]) == {"same@1", "gated@1"}
    first, second = (read_model(config.store / "gated" / it).network for it in ("1", "2"))
    for name, weights in first.get_submodule("local").named_parameters():
        torch.testing.assert_close(second.get_parameter(f"local.{name}"), weights)


def test_networks_that_do_not_fit_are_rejected(config: GateConfig) -> None:
    """A gate joins a global and a local network, in this order."""
    with pytest.raises(BadModel, match="a clutnet and an slut"):
        fit_gate(config.model_copy(update={"overall": config.local, "local": config.overall}))
