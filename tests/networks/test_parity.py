"""Parity with the code and the checkpoints of the methods' authors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from app.networks import import_checkpoint
from app.networks.adaint import AdaInt
from app.networks.base import Network, identity_table
from app.networks.lut_ops import trilinear
from app.networks.lutwithbgrid import LutWithBGrid
from app.networks.store import read_model
from app.networks.svdlut import SvdLut
from tests.helpers.published import (
    CHECKPOINTS,
    CLUTNETS,
    GUARDED,
    PHOTOS,
    import_all,
    model_name,
    read_input,
    read_pixels,
    read_result,
)

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def networks(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """Import every published network into a model store, and read it."""
    store = tmp_path_factory.mktemp("store")
    import_all(shared, store)
    return {name: read_model(store / model_name(name) / "1").network for name in CHECKPOINTS}


def to_tensor(levels: np.ndarray) -> Tensor:
    """Convert (H, W, 3) uint8 to (1, 3, H, W) in 0..1."""
    return torch.from_numpy(levels.copy()).permute(2, 0, 1)[None].float() / 255


def make_thumbnail(image: Tensor) -> Tensor:
    """Make the thumbnail from which the published results were computed."""
    return interpolate(image, (256, 256), mode="bilinear", align_corners=False, antialias=False)


def enhance(network: Network, codes: Tensor, image: Tensor) -> np.ndarray:
    """Apply a code trilinearly to (1, 3, H, W) in 0..1; return levels (H, W, 3)."""
    colours = trilinear(network.decode(codes), image.flatten(2).transpose(1, 2))
    height, width = image.shape[2:]
    return colours[0].clamp(0, 1).mul(255).round().numpy().reshape(height, width, 3)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("model", CLUTNETS)
def test_basis_weights_and_residual_lut(
    networks: dict[str, Network], shared: Path, model: str, name: str
) -> None:
    """CLUT-Net's weights agree within 1e-3, its residual LUT within 1e-4."""
    published = np.load(shared / "parity" / f"{name}-{model}.npz")
    network = networks[model]
    codes = network.encode(make_thumbnail(to_tensor(read_input(shared, name))))
    residual = network.decode(codes).table[0] - network.identity
    np.testing.assert_allclose(codes[0].numpy(), published["weights"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(residual.numpy(), published["residual_lut"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PHOTOS)
def test_adaptive_intervals(networks: dict[str, Network], shared: Path, name: str) -> None:
    """AdaInt's weights and lattice positions agree."""
    published = np.load(shared / "parity" / f"{name}-adaint.npz")
    network = networks["adaint"]
    assert isinstance(network, AdaInt)
    codes = network.encode(make_thumbnail(to_tensor(read_input(shared, name))))
    np.testing.assert_allclose(codes[0, :3].numpy(), published["weights"], atol=1e-3, rtol=0)
    vertices = network.vertices(codes)[0].numpy()
    np.testing.assert_allclose(vertices, published["vertices"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("model", CHECKPOINTS)
def test_enhanced_image(networks: dict[str, Network], shared: Path, model: str, name: str) -> None:
    """With trilinear interpolation, every pixel is within 1 level of the authors' result."""
    image = to_tensor(read_input(shared, name))
    levels = enhance(networks[model], networks[model].encode(make_thumbnail(image)), image)
    assert np.abs(levels - read_result(shared, name, model)).max() <= 1


@pytest.mark.parametrize("model", ["adaint", "seplut"])
def test_half_precision_changes_no_pixel_by_more_than_a_level(
    networks: dict[str, Network], shared: Path, photos: Path, model: str
) -> None:
    """Tokens may hold codes in half precision."""
    network = networks[model]
    assert network.half_codes
    free = [read_pixels(path) for path in photos.glob("*.jpg")]
    for levels in [*free, *(read_input(shared, name) for name in PHOTOS)]:
        image = to_tensor(levels)
        codes = network.encode(make_thumbnail(image))
        whole, half = (enhance(network, it, image) for it in (codes, codes.half().float()))
        assert np.abs(whole - half).max() <= 1


def import_guarded(shared: Path, name: str) -> Network:
    """Import one of the networks that are served with a guard."""
    network = import_checkpoint(shared / "weights" / file for file in GUARDED[name])
    return network.requires_grad_(requires_grad=False)


def inner(levels: np.ndarray) -> np.ndarray:
    """Drop the last row and column, where the released operators read other grid points."""
    return levels[:-1, :-1].astype(int)


@pytest.mark.parametrize("name", PHOTOS)
def test_svdlut_without_guard(shared: Path, name: str) -> None:
    """The table is within 1 level of the authors' code."""
    network = import_guarded(shared, "svdlut")
    assert isinstance(network, SvdLut)
    network.guard = 0.0
    image = to_tensor(read_input(shared, name))
    levels = enhance(network, network.encode(make_thumbnail(image)), image)
    assert np.abs(inner(levels) - inner(read_result(shared, name, "svdlut"))).max() <= 1


@pytest.mark.parametrize("name", PHOTOS)
def test_lutwithbgrid_without_guard(shared: Path, name: str) -> None:
    """The network is within 1 level of the authors' code, the table within 1 on average."""
    network = import_guarded(shared, "bgrid")
    assert isinstance(network, LutWithBGrid)
    network.guard = 0.0
    image = to_tensor(read_input(shared, name))
    codes = network.encode(make_thumbnail(image))
    exact = network.transform(codes, image.flatten(2).transpose(1, 2))[0]
    levels = exact.clamp(0, 1).mul(255).round().numpy().reshape(*image.shape[2:], 3)
    expected = inner(read_result(shared, name, "bgrid"))
    assert np.abs(inner(levels) - expected).max() <= 1
    assert np.abs(inner(enhance(network, codes, image)) - expected).mean() < 1


@pytest.mark.parametrize("model", GUARDED)
def test_a_guarded_table_is_within_its_bounds(shared: Path, photos: Path, model: str) -> None:
    """By default no lattice point is below a fifth of its input, or above the mirror of that."""
    network = import_guarded(shared, model)
    lattice = identity_table(network.lut_size)
    images = [to_tensor(read_pixels(path)) for path in photos.glob("*.jpg")]
    tables = torch.cat([network(make_thumbnail(image)).table for image in images])
    assert (tables >= 0.2 * lattice - 1e-6).all()
    assert (tables <= 1.0 - 0.2 * (1.0 - lattice) + 1e-6).all()
    assert isinstance(network, (SvdLut, LutWithBGrid))
    network.guard = 0.0
    unguarded = torch.cat([network(make_thumbnail(image)).table for image in images])
    assert (unguarded < 0.2 * lattice - 1e-6).any()
