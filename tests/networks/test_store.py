"""The model store: what is written can be read again, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from app.errors import BadModel, UnknownLook, UnknownModel
from app.networks.base import Network, ThumbnailRecipe
from app.networks.clutnet import ClutNet
from app.networks.registry import ARCHITECTURES, import_checkpoint
from app.networks.store import (
    ModelCard,
    ModelRegistry,
    read_model,
    read_registry,
    read_store,
    write_model,
)

SMALL = {
    "clutnet": {"n": 2, "s": 2, "w": 3, "d": 5},
    "ia3dlut": {"n": 2, "d": 5},
    "adaint": {"n": 2, "d": 5},
    "seplut": {"m": 2, "n": 2, "c": 5, "d": 5},
    "svdlut": {"r": 2, "k": 2, "v": 3, "d": 5},
    "lutwithbgrid": {"r": 2, "v": 3, "g": 2, "d": 5},
}


def small(architecture: str = "clutnet") -> Network:
    """A network that takes no time."""
    torch.manual_seed(0)
    network = ARCHITECTURES[architecture](**SMALL[architecture]).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def written(root: Path, network: Network, name: str = "a") -> ModelCard:
    """The network as the store's next version of a name."""
    recipe = ThumbnailRecipe(antialias=True)
    return write_model(root, network, name=name, licence="CC0-1.0", source="us", thumbnail=recipe)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip(tmp_path: Path, architecture: str) -> None:
    """Every architecture is restored from its card: equal weights, and equal tables."""
    network = small(architecture)
    card = written(tmp_path, network)
    model = read_model(tmp_path / "a" / "1")
    assert model.card == card
    thumbnails = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        expected, answer = network(thumbnails), model.network(thumbnails)
    weights, restored = network.state_dict(), model.network.state_dict()
    assert weights.keys() == restored.keys()
    assert all(torch.equal(weights[name], restored[name]) for name in weights)
    # Matrix products round by the alignment of their operands: up to 1e-6 at values up to 1.
    torch.testing.assert_close(answer.table, expected.table, rtol=0, atol=1e-5)
    assert model.network.code_size == network.encode(thumbnails).shape[1]
    assert answer.table.shape[2] == model.network.lut_size == card.lut_size


def test_versions_rise(tmp_path: Path) -> None:
    """Writing a name again makes its next version, and the bare name means the newest."""
    labels = [written(tmp_path, small()).model_ref for _ in range(3)]
    assert labels == ["a@1", "a@2", "a@3"]
    catalogue = ModelRegistry(read_store(tmp_path), "a")
    assert catalogue.default.card.version == 3
    assert catalogue.get("a@2").card.version == 2


def test_unknown_names_are_told_what_there_is(tmp_path: Path) -> None:
    """Asking for another model, or another model's look, is a problem that helps."""
    written(tmp_path, small())
    catalogue = ModelRegistry(read_store(tmp_path), "a")
    with pytest.raises(UnknownModel) as unknown:
        catalogue.get("b")
    assert unknown.value.extra == {"accepted": ["a"]}
    with pytest.raises(UnknownLook, match="0102030405060708"):
        catalogue.get_by_fingerprint(bytes(range(1, 9)))


def test_looks_find_their_model(tmp_path: Path) -> None:
    """A fingerprint leads to the very version that it belongs to."""
    cards = [written(tmp_path, small(architecture)) for architecture in ("clutnet", "adaint")]
    catalogue = ModelRegistry(read_store(tmp_path), "a")
    assert [catalogue.get_by_fingerprint(card.fingerprint).card for card in cards] == cards


def broken_weights(folder: Path) -> None:
    """A file cut short by a byte."""
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def edited_card(**changes: object):
    """A card with other lines."""

    def edit(folder: Path) -> None:
        path = folder / "card.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors: cannot"),
        (broken_weights, "weights.safetensors: its SHA-256"),
        (lambda folder: (folder / "card.json").write_text("{"), "card.json: "),
        (edited_card(format=2), "card.json: format"),
        (edited_card(surprise=1), "card.json: surprise"),
        (edited_card(architecture="other"), "no architecture 'other'"),
        (edited_card(hparams={"n": 3, "s": 2, "w": 3, "d": 5}), "does not fit its card"),
        (edited_card(hparams={"m": 3}), "does not fit its card"),
    ],
)
def test_damage_is_refused_by_file(tmp_path: Path, damage, complaint: str) -> None:
    """A model that is not what its card says is refused, and the file is named."""
    written(tmp_path, small())
    damage(tmp_path / "a" / "1")
    with pytest.raises(BadModel, match=complaint):
        read_store(tmp_path)


def test_models_lie_where_their_cards_say(tmp_path: Path) -> None:
    """A copied folder is no second model, and an unfinished import is none at all."""
    written(tmp_path, small())
    shutil.copytree(tmp_path / "a", tmp_path / ".new-cut-short")
    assert len(read_store(tmp_path)) == 1
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(BadModel, match="belongs in the folder a/1"):
        read_store(tmp_path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """NaN in the weights is found before the first photograph is spoiled."""
    network = small()
    assert isinstance(network, ClutNet)
    network.psi.data[0] = torch.nan
    written(tmp_path, network)
    with pytest.raises(BadModel, match="tensor psi holds NaN"):
        read_store(tmp_path)


@pytest.mark.parametrize("name", ["", "../a", "A b", "a/b"])
def test_names_stay_in_the_store(tmp_path: Path, name: str) -> None:
    """A model's name cannot lead out of the store."""
    with pytest.raises(BadModel, match="name"):
        written(tmp_path, small(), name)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_other_files_are_not_imported(tmp_path: Path) -> None:
    """The importer says of a file that is no checkpoint, or another network's, what it lacks."""
    other = tmp_path / "other.pth"
    other.write_bytes(b"not a checkpoint")
    with pytest.raises(BadModel, match=r"other\.pth: not a checkpoint"):
        import_checkpoint([other])
    torch.save({"weight": torch.zeros(1)}, other)
    with pytest.raises(BadModel, match="not a checkpoint of a known method"):
        import_checkpoint([other])


def test_a_bad_model_does_not_stop_the_good_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out and the log names its file; but without the default nothing is served."""
    for name in ("a", "a", "b"):
        written(tmp_path, small(), name)
    weights = tmp_path / "b" / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (tmp_path / "c" / "1").mkdir(parents=True)
    catalogue = read_registry(tmp_path, "a")
    assert [model.card.model_ref for model in catalogue.models] == ["a@1", "a@2"]
    assert "b/1/weights.safetensors: its SHA-256" in caplog.text
    assert "c/1/card.json: cannot be read" in caplog.text
    for default, file in (("b", "b/1/weights"), ("b@1", "b/1/weights"), ("c", "c/1/card.json")):
        with pytest.raises(BadModel, match=file):
            read_registry(tmp_path, default)
    with pytest.raises(UnknownModel):
        read_registry(tmp_path, "d")
    edited_card(format=2)(tmp_path / "a" / "2")
    assert read_registry(tmp_path, "a@1").default.card.model_ref == "a@1"
    with pytest.raises(BadModel, match=r"a/2/card\.json: format"):
        read_registry(tmp_path, "a")  # an older version in its place would be another look
