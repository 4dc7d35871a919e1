from __future__ import annotations

from pathlib import Path

import pytest

import app.training
from app.errors import BadParameter
from app.networks.lut4d import Lut4D
from app.networks.slut import Slut
from app.training.config import read_config
from app.training.distil import DistilConfig
from app.training.train import TrainConfig

RECIPES = Path(app.training.__file__).parent / "recipes"


def test_the_default_network_has_a_recipe():
    """Given the recipe of the default network: a CLUT-Net 20+05+20, guarded teachers with BPAM."""
    config = read_config(RECIPES / "default.toml", DistilConfig)

    network = config.network
    assert network.architecture == "clutnet"
    assert (network.n, network.s, network.w, network.d, network.colours) == (20, 5, 20, 33, 32)
    assert sorted(config.teachers.models) == ["bgrid", "svdlut"]
    assert [it.network for it in config.teachers.pixelwise] == ["bpam"]
    assert config.teachers.guard == 0.2
    assert config.licence == "Apache-2.0"


@pytest.mark.parametrize(("recipe", "network"), [("local", Slut), ("lut4d", Lut4D)])
def test_local_networks_have_recipes(recipe, network):
    """Given the recipes of local networks: they start from the global one."""
    config = read_config(RECIPES / f"{recipe}.toml", DistilConfig)

    assert type(config.network.build()) is network
    assert config.init == Path("model_store/default/2")
    assert config.mixture.local == 0.5


def test_the_published_recipe_is_the_papers():
    """Given the paper's recipe: Adam 1e-4, batch 1, smoothness 1e-4, monotonicity 10."""
    config = read_config(RECIPES / "published.toml", TrainConfig)

    assert (config.batch, config.schedule.rate, config.schedule.decay) == (1, 1e-4, False)
    assert config.losses.model_dump() == {"smoothness": 1e-4, "monotonicity": 10.0}
    assert config.degrade.saturation == (0.8, 1.2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("batch = ", "not TOML"),
        ("speed = 3", "speed: Extra inputs"),
        ("batch = 0", "batch: Input should be greater than 0"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(tmp_path, text, complaint):
    """Given a recipe that cannot be, the file, the field and the complaint are named."""
    path = tmp_path / "bad.toml"
    keys = tuple(f"{key} =" for key in text.split(" ")[:1])
    good = (RECIPES / "published.toml").read_text().splitlines()
    path.write_text("\n".join((text, *(line for line in good if not line.startswith(keys)))))

    with pytest.raises(BadParameter, match=rf"bad\.toml: {complaint}"):
        read_config(path, TrainConfig)


def test_a_recipe_that_is_not_there_is_named(tmp_path):
    """Given a wrong path, it is named."""
    with pytest.raises(BadParameter, match=r"none\.toml: cannot be read"):
        read_config(tmp_path / "none.toml", TrainConfig)
