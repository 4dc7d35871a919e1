"""The model store: models are read as they were written, and damaged models are rejected."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from app.errors import BadModel, UnknownLook, UnknownModel
from app.networks import ARCHITECTURES, import_checkpoint
from app.networks.clutnet import ClutNet
from app.networks.store import (
    ModelRegistry,
    read_model,
    read_registry,
    read_store,
)
from app.policies import STORE
from tests.helpers.networks import make_network, write_network


def test_embedded_models_state_their_figures() -> None:
    """The cards have what `measure` writes, so that GET /models has it."""
    models = read_store(STORE)
    assert {model.card.name for model in models} >= {"default", "local", "vivid"}
    for model in models:
        figures = model.card.figures.keys()
        assert figures == {"expert", "artifacts", "recover"}, model.card.model_ref


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip(tmp_path: Path, architecture: str) -> None:
    """Every architecture is restored from its card: equal weights, and equal tables."""
    network = make_network(architecture)
    card = write_network(tmp_path, network)
    model = read_model(tmp_path / "a" / "1")
    assert model.card == card
    thumbnails = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        expected, output = network(thumbnails), model.network(thumbnails)
    weights, restored = network.state_dict(), model.network.state_dict()
    assert weights.keys() == restored.keys()
    assert all(torch.equal(weights[name], restored[name]) for name in weights)
    # Matrix products round by the alignment of their operands: up to 1e-6 at values up to 1.
    torch.testing.assert_close(output.table, expected.table, rtol=0, atol=1e-5)
    cells = math.prod(network.map_shape or (0,))
    assert model.network.code_size + cells == network.encode(thumbnails).shape[1]
    assert output.table.shape[2] == model.network.lut_size == card.lut_size


def test_versions_rise(tmp_path: Path) -> None:
    """Each write of a name is a new version, and the name alone is the highest version."""
    refs = [write_network(tmp_path, make_network()).model_ref for _ in range(3)]
    assert refs == ["a@1", "a@2", "a@3"]
    registry = ModelRegistry(read_store(tmp_path), "a")
    assert registry.default.card.version == 3
    assert registry.get("a@2").card.version == 2


def test_unknown_models_and_looks_are_rejected(tmp_path: Path) -> None:
    """The error for a name lists the names, the error for a look its fingerprint."""
    write_network(tmp_path, make_network())
    registry = ModelRegistry(read_store(tmp_path), "a")
    with pytest.raises(UnknownModel) as unknown:
        registry.get("b")
    assert unknown.value.extra == {"accepted": ["a"]}
    with pytest.raises(UnknownLook, match="0102030405060708"):
        registry.get_by_fingerprint(bytes(range(1, 9)))


def test_a_fingerprint_selects_a_version(tmp_path: Path) -> None:
    """A fingerprint belongs to exactly one version of one model."""
    cards = [write_network(tmp_path, make_network(name)) for name in ("clutnet", "adaint")]
    registry = ModelRegistry(read_store(tmp_path), "a")
    assert [registry.get_by_fingerprint(card.fingerprint).card for card in cards] == cards


def truncate_weights(folder: Path) -> None:
    """Remove the last byte of the weights."""
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def edit_card(**changes: object):
    """Return a function that changes members of the card in a folder."""

    def edit(folder: Path) -> None:
        path = folder / "card.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def replace_by_pipe(name: str):
    """Return a function that replaces a file in a folder by a named pipe without a writer."""

    def replace(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return replace


def test_a_look_of_equal_weights_belongs_to_the_default_model(tmp_path: Path) -> None:
    """Two names of the same weights share a fingerprint."""
    for name in ("a", "b"):
        write_network(tmp_path, make_network(), name)
    for default in ("a", "b"):
        registry = ModelRegistry(read_store(tmp_path), default)
        assert registry.get_by_fingerprint(registry.default.card.fingerprint) is registry.default


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors: cannot"),
        (truncate_weights, "weights.safetensors: the SHA-256"),
        (lambda folder: (folder / "card.json").write_text("{"), "card.json: "),
        (edit_card(format=2), "card.json: format"),
        (edit_card(surprise=1), "card.json: surprise"),
        (edit_card(architecture="other"), "there is no architecture 'other'"),
        (edit_card(hparams={"n": 3, "s": 2, "w": 3, "d": 5}), "does not fit the card"),
        (edit_card(hparams={"m": 3}), "does not fit the card"),
        (edit_card(hparams={"n": 3, "s": 0, "w": 0, "d": 5}), "does not fit the card"),
        (edit_card(lut_size=10**12), "card.json: lut_size is not"),
        (lambda folder: (folder / "card.json").write_text("[" * 100_000), "card.json: "),
        (replace_by_pipe("card.json"), "card.json: cannot be read .not a regular file"),
        (replace_by_pipe("weights.safetensors"), "weights.safetensors: cannot be read .not a reg"),
    ],
)
def test_damaged_models_are_rejected(tmp_path: Path, damage, message: str) -> None:
    """A model that does not match its card is rejected, and the error names the file."""
    write_network(tmp_path, make_network())
    damage(tmp_path / "a" / "1")
    with pytest.raises(BadModel, match=message):
        read_store(tmp_path)


def test_the_folder_of_a_model_matches_its_card(tmp_path: Path) -> None:
    """A copied folder is rejected, and an unfinished import is ignored."""
    write_network(tmp_path, make_network())
    shutil.copytree(tmp_path / "a", tmp_path / ".new-cut-short")
    assert len(read_store(tmp_path)) == 1
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(BadModel, match="belongs in the folder a/1"):
        read_store(tmp_path)


def test_a_folder_that_vanishes_while_the_store_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is deleted meanwhile is left out; the others are read."""
    for name in ("a", "b"):
        write_network(tmp_path, make_network(), name)
    list_folder = Path.iterdir

    def delete_and_list(path: Path) -> Iterator[Path]:
        if path == tmp_path / "a":
            shutil.rmtree(path)
        return list_folder(path)

    monkeypatch.setattr(Path, "iterdir", delete_and_list)
    assert [model.card.name for model in read_store(tmp_path)] == ["b"]


def test_a_link_to_a_model_is_followed(tmp_path: Path) -> None:
    """Folders may be symbolic links; one in a circle is ignored."""
    write_network(tmp_path / "elsewhere", make_network())
    store = tmp_path / "store"
    store.mkdir()
    (store / "a").symlink_to(tmp_path / "elsewhere" / "a")
    (store / "circle").symlink_to(store / "circle")
    assert [model.card.name for model in read_store(store)] == ["a"]


def test_weights_with_nan_are_rejected(tmp_path: Path) -> None:
    """NaN in the weights is an error when the model is read."""
    network = make_network()
    assert isinstance(network, ClutNet)
    network.psi.data[0] = torch.nan
    write_network(tmp_path, network)
    with pytest.raises(BadModel, match="tensor psi holds NaN"):
        read_store(tmp_path)


@pytest.mark.parametrize("name", ["", "../a", "A b", "a/b"])
def test_invalid_names_are_rejected(tmp_path: Path, name: str) -> None:
    """The name of a model cannot lead out of the store."""
    with pytest.raises(BadModel, match="name"):
        write_network(tmp_path, make_network(), name)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_files_of_unknown_methods_are_rejected(tmp_path: Path) -> None:
    """The importer rejects files that are no checkpoint, and checkpoints of other networks."""
    other = tmp_path / "other.pth"
    other.write_bytes(b"not a checkpoint")
    with pytest.raises(BadModel, match=r"other\.pth: cannot be read as a checkpoint"):
        import_checkpoint([other])
    torch.save({"weight": torch.zeros(1)}, other)
    with pytest.raises(BadModel, match="not a checkpoint of a known method"):
        import_checkpoint([other])


def test_damaged_models_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the file of a damaged model; a damaged default model is an error."""
    for name in ("a", "a", "b"):
        write_network(tmp_path, make_network(), name)
    weights = tmp_path / "b" / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (tmp_path / "c" / "1").mkdir(parents=True)
    registry = read_registry(tmp_path, "a")
    assert [model.card.model_ref for model in registry.models] == ["a@1", "a@2"]
    assert "b/1/weights.safetensors: the SHA-256" in caplog.text
    assert "c/1/card.json: cannot be read" in caplog.text
    for default, file in (("b", "b/1/weights"), ("b@1", "b/1/weights"), ("c", "c/1/card.json")):
        with pytest.raises(BadModel, match=file):
            read_registry(tmp_path, default)
    with pytest.raises(UnknownModel):
        read_registry(tmp_path, "d")
    edit_card(format=2)(tmp_path / "a" / "2")
    assert read_registry(tmp_path, "a@1").default.card.model_ref == "a@1"
    with pytest.raises(BadModel, match=r"a/2/card\.json: format"):
        read_registry(tmp_path, "a")  # an older version would be another look
