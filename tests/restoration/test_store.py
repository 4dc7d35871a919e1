"""Restoration models in the store, and files that are imported."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from app.errors import BadModel, UnknownModel
from app.networks.store import read_store
from app.policies import STORE
from app.restoration.cleaning import KNOTS, Damage
from app.restoration.methods import import_tables
from app.restoration.published_files import Imported, read_tensors
from app.restoration.store import read_restorer, read_restorers, write_restorer
from tests.helpers.networks import make_network, write_network
from tests.helpers.restoration import cleaning, denoising


def make_imported(scale: int = 2) -> Imported:
    """Return a small model: one stage, whose table is empty."""
    table = np.zeros((9**4, scale**2), np.int8)
    hparams = {"denominators": [4.0], "biases": [0.0], "residual": True}
    return Imported("mulut", {"stage1_s": table}, hparams)


def write(root: Path, name: str, scale: int = 2) -> None:
    """Write a small model into a store."""
    write_restorer(root, make_imported(scale), name=name, licence="CC0-1.0", source="a test")


def test_round_trip(tmp_path: Path) -> None:
    """A written model is read back, beside those of looks, which it does not disturb."""
    write(tmp_path, "small")
    write_network(tmp_path, make_network())
    (restorer,) = read_restorers(tmp_path).all
    assert restorer.card.model_ref == "small@1"
    assert (restorer.card.scale, restorer.card.bytes) == (2, 9**4 * 4)
    maps = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    np.testing.assert_array_equal(restorer.model.run(maps), maps.repeat(2, 1).repeat(2, 2))
    assert [model.card.name for model in read_store(tmp_path)] == ["a"]


def test_the_model_of_a_scale(tmp_path: Path) -> None:
    """`upscale-N` is preferred among models of a scale, and of a name the highest version."""
    for name, scale in (("b", 2), ("a", 2), ("c", 4), ("a", 2)):
        write(tmp_path, name, scale)
    restorers = read_restorers(tmp_path)
    found = restorers.find(2)
    assert found is not None
    assert found.card.model_ref == "a@2"
    assert restorers.find(3) is None
    assert restorers.find(None) is None
    write(tmp_path, "upscale-2")
    preferred = read_restorers(tmp_path).find(2)
    assert preferred is not None
    assert preferred.card.name == "upscale-2"


def test_the_models_that_clean(tmp_path: Path) -> None:
    """Luma and chroma have a cleaner each, and other models of scale 1 remove noise."""
    assert read_restorers(tmp_path).cleaners == (None, None, None)
    for name, imported in (
        ("a-chroma", cleaning("chroma")),
        ("b", cleaning()),
        ("clean", cleaning()),
        ("c", denoising(0)),
        ("denoise", denoising(8)),
        ("x2", make_imported()),
    ):
        write_restorer(tmp_path, imported, name=name, licence="CC0-1.0", source="a test")
    restorers = read_restorers(tmp_path)
    luma, chroma, denoiser = restorers.cleaners
    assert luma is restorers.get("clean").model
    assert chroma is restorers.get("a-chroma").model
    assert denoiser is restorers.get("denoise").model
    assert restorers.get("denoise").card.task == "clean"
    assert restorers.find(1) is None


def test_names(tmp_path: Path) -> None:
    """A model is found by its name and by its version; the error lists the names."""
    write(tmp_path, "a")
    write(tmp_path, "a")
    restorers = read_restorers(tmp_path)
    assert restorers.get("a@1").card.version == 1
    assert restorers.get("a").card.version == 2
    with pytest.raises(UnknownModel) as unknown:
        restorers.get("b")
    assert unknown.value.extra == {"accepted": ["a"]}
    with pytest.raises(BadModel, match="name"):
        write(tmp_path, "A name")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "unknown"}, "no method 'unknown'"),
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"scale": "two"}, "scale"),
        ({"scale": 3}, "scale is not 2"),
        ({"scale": None}, "scale is not 2"),
        ({"hparams": {}}, "does not fit the card"),
        ({"hparams": {"denominators": [], "biases": [0]}}, "does not fit the card"),
        ({"hparams": {"denominators": "x", "biases": [0]}}, "does not fit the card"),
        ({"hparams": {"denominators": [4, 4], "biases": [0, 0]}}, "stage 2"),
    ],
)
def test_damaged_models_are_left_out(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """A card that does not fit is an error that names the file; the registry leaves it out."""
    write(tmp_path, "a")
    path = tmp_path / "a" / "1" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadModel, match=message):
        read_restorer(path.parent)
    assert read_restorers(tmp_path).all == []


def test_files_of_other_methods_are_not_tables(tmp_path: Path) -> None:
    """Files with other names belong to networks; incomplete sets are an error."""
    assert import_tables([tmp_path / "model.pth"]) is None
    table = tmp_path / "LUT_ft_x4_4bit_int8_s2_s.npy"
    np.save(table, np.zeros((17**4, 16), np.int8))
    with pytest.raises(BadModel, match="incomplete mulut"):
        import_tables([table])
    np.save(table, np.zeros((17**4, 16)))
    with pytest.raises(BadModel, match="int8"):
        import_tables([table])
    table.write_bytes(b"no table")
    with pytest.raises(BadModel, match="cannot be read"):
        import_tables([table])


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_read_as_torch_reads_them(tmp_path: Path, zipped: bool) -> None:
    """Both layouts of torch.save: views, types and the names of modules."""
    path = tmp_path / "a.pth"
    base = torch.arange(12.0).view(3, 4)
    state = {"a": base, "b": base.t()[1:], "c": torch.tensor([1, 2]), "d": {"e": base.half()}}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = read_tensors(path)
    assert found.keys() == {"a", "b", "c", "d.e"}
    for name, tensor in (("a", base), ("b", base.t()[1:]), ("d.e", base.half())):
        np.testing.assert_array_equal(found[name], tensor.numpy())
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(2, 2))
    torch.save(network, path, _use_new_zipfile_serialization=zipped)
    found = read_tensors(path)
    expected = network.state_dict()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name].numpy()) for name in expected)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_hostile_file_runs_nothing(tmp_path: Path) -> None:
    """Pickled calls are not made, and garbage is an error."""
    path, victim = tmp_path / "a.pth", tmp_path / "victim"
    for zipped in (True, False):
        torch.save({"a": Hostile(victim)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(BadModel, match=r"no tensors|cannot be read"):
            read_tensors(path)
    path.write_bytes(pickle.dumps({"a": Hostile(victim)}))
    with pytest.raises(BadModel, match="cannot be read"):
        read_tensors(path)
    assert not victim.exists()


@pytest.mark.parametrize("knot", KNOTS)
def test_the_embedded_cleaners_leave_areas_of_one_level(knot: str) -> None:
    """Skies, black borders and white pages stay as they are, whatever the damage."""
    quality = float(knot.removeprefix("jpeg")) if knot.startswith("jpeg") else None
    damage = Damage(quality, 0.0 if quality else 6.0)
    chosen = read_restorers(STORE).cleaners.for_damage(damage)
    assert [planes for planes, _ in chosen] == (["luma"] if quality else ["luma", "chroma"])
    for _, model in chosen:
        for level in range(256):
            assert (model.run(np.full((1, 5, 5), level, np.uint8)) == level).all()
