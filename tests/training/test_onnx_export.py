"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from app.errors import BadParameter
from app.imaging.resize import make_thumbnail
from app.networks.store import Model, read_model, read_store
from app.policies import STORE
from app.training.data import photo_files, read_photo
from app.training.ensemble import Ensemble
from app.training.onnx_export import OPSET, OnnxNetwork, Precision, compare, export_onnx
from tests.helpers.networks import GLOBAL, make_network, write_network
from tests.helpers.paths import PHOTOS, ROOT, SHARED

pytestmark = [
    pytest.mark.slow,  # the exporter takes seconds
    pytest.mark.filterwarnings("ignore"),  # of the exporter, about itself
]


def thumbnails(folder: Path = PHOTOS) -> list[NDArray[np.float32]]:
    """Make the thumbnails of a folder's photographs, as the published networks take them."""
    return [make_thumbnail(read_photo(file), 256, antialias=False) for file in photo_files(folder)]


def embedded() -> Model:
    """Read the default model."""
    return next(it for it in read_store(STORE) if it.card.name == "default")


@pytest.fixture(scope="module")
def exported() -> bytes:
    """Export the default model."""
    return export_onnx(embedded(), "float32", [])


@pytest.mark.parametrize("architecture", GLOBAL)
def test_every_architecture_is_exported(tmp_path: Path, architecture: str) -> None:
    """ONNX Runtime computes what torch does, with standard operators of one opset alone."""
    write_network(tmp_path, make_network(architecture))
    model = read_model(tmp_path / "a" / "1")
    file = export_onnx(model, "float32", [])
    graph = onnx.load_from_string(file)
    onnx.checker.check_model(graph, full_check=True)
    assert [(it.domain, it.version) for it in graph.opset_import] == [("", OPSET)]
    assert not graph.functions
    thumbnail = np.random.default_rng(0).random((3, 256, 256), np.float32)
    # Both sum in an order of their own.
    assert compare(model, OnnxNetwork(file), [thumbnail]).worst < 1e-4


def test_local_networks_are_rejected(tmp_path: Path) -> None:
    """The graph has no output for a map."""
    write_network(tmp_path, make_network("slut"))
    with pytest.raises(BadParameter, match="a@1: local networks"):
        export_onnx(read_model(tmp_path / "a" / "1"), "float32", [])


def test_the_file_says_what_it_is(exported: bytes) -> None:
    """Names, shapes and metadata suffice to use the file without these documents."""
    model = embedded()
    graph = onnx.load_from_string(exported)

    def shapes(values: object) -> dict[str, list[int]]:
        return {it.name: [d.dim_value for d in it.type.tensor_type.shape.dim] for it in values}

    assert shapes(graph.graph.input) == {"thumbnail": [1, 3, 256, 256]}
    assert shapes(graph.graph.output) == {"table": [1, 3, 33, 33, 33]}
    stated = {it.key: it.value for it in graph.metadata_props}
    assert (stated["model"], stated["licence"]) == (model.card.model_ref, "Apache-2.0")
    recipe = {"colours": "sRGB", "size": 256, "filter": "bilinear", "antialias": False}
    assert json.loads(stated["thumbnail"]) == recipe


@pytest.mark.parametrize(
    ("precision", "size", "difference"), [("float16", 0.6, 0.1), ("int8", 0.6, 1.0)]
)
def test_variants_are_smaller_and_close(
    exported: bytes, precision: Precision, size: float, difference: float
) -> None:
    """Variants take up to 60 % of the size and change colours by less than eyes see."""
    model, photos = embedded(), thumbnails()
    small = export_onnx(model, precision, photos)
    assert len(small) < size * len(exported)
    assert compare(model, OnnxNetwork(small), photos).mean < difference


def test_int8_needs_photographs() -> None:
    """Without photographs there are no ranges for 8 bits."""
    with pytest.raises(BadParameter, match="folder"):
        export_onnx(embedded(), "int8", [])


@pytest.mark.reference
def test_the_default_is_exported_within_1e_4(exported: bytes) -> None:
    """On the photographs of the parity tests, no value of a table differs by 1e-4."""
    photos = [
        make_thumbnail(read_photo(file), 256, antialias=False)
        for file in [SHARED / "parity" / "a1629.jpg", *sorted(SHARED.glob("pairs/*-input.*"))]
    ]
    assert len(photos) == 9
    assert compare(embedded(), OnnxNetwork(exported), photos).worst < 1e-4


def test_another_network_differs(exported: bytes) -> None:
    """The comparison sees a network with another output."""
    model = embedded()
    with torch.no_grad():
        model.network.psi.add_(0.05)
    found = compare(model, OnnxNetwork(exported), thumbnails()[:2])
    assert found.worst > 0.01
    assert found.mean > 0.05


def test_example_of_the_documentation(exported: bytes, dim: bytes, tmp_path: Path) -> None:
    """The example of docs/clients.md enhances a photograph as the service does."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(dim)
    (tmp_path / "default.onnx").write_bytes(exported)
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    pixels = read_photo(photo)
    expected = Ensemble([embedded()]).look(pixels)(pixels / 255) * 255
    with Image.open(tmp_path / "better.png") as image:
        difference = np.abs(np.asarray(image) - expected)
    # Thumbnails of 8 bits, and 16 bits per entry in Pillow's LUT.
    assert difference.mean() < 1.0
    assert np.abs(expected - pixels).mean() > 2 * difference.mean()
