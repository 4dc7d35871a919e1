"""What the authors' own code answers, and what comes out here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from app.networks.adaint import AdaInt
from app.networks.base import Network, identity_table
from app.networks.lut_ops import trilinear
from app.networks.lutwithbgrid import LutWithBGrid
from app.networks.registry import import_checkpoint
from app.networks.store import read_model
from app.networks.svdlut import SvdLut
from tests.published import (
    CHECKPOINTS,
    CLUTNETS,
    GUARDED,
    PHOTOS,
    answer,
    import_all,
    model_name,
    photo,
    pixels,
)

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def networks(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """Every published network, through the importer and the model store."""
    store = tmp_path_factory.mktemp("store")
    import_all(shared, store)
    return {name: read_model(store / model_name(name) / "1").network for name in CHECKPOINTS}


def unit(levels: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in 0..1."""
    return torch.from_numpy(levels.copy()).permute(2, 0, 1)[None].float() / 255


def squeezed(image: Tensor) -> Tensor:
    """The thumbnail that the published answers were made from."""
    return interpolate(image, (256, 256), mode="bilinear", align_corners=False, antialias=False)


def enhanced(network: Network, codes: Tensor, image: Tensor) -> np.ndarray:
    """(1, 3, H, W) in 0..1 -> levels (H, W, 3), looked up trilinearly."""
    answers = trilinear(network.decode(codes), image.flatten(2).transpose(1, 2))
    height, width = image.shape[2:]
    return answers[0].clamp(0, 1).mul(255).round().numpy().reshape(height, width, 3)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("model", CLUTNETS)
def test_basis_weights_and_residual_lut(
    networks: dict[str, Network], shared: Path, model: str, name: str
) -> None:
    """CLUT-Net's weights agree within 1e-3, its residual LUT within 1e-4."""
    published = np.load(shared / "parity" / f"{name}-{model}.npz")
    network = networks[model]
    codes = network.encode(squeezed(unit(photo(shared, name))))
    residual = network.decode(codes).table[0] - network.identity
    np.testing.assert_allclose(codes[0].numpy(), published["weights"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(residual.numpy(), published["residual_lut"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PHOTOS)
def test_adaptive_intervals(networks: dict[str, Network], shared: Path, name: str) -> None:
    """AdaInt's weights and lattice positions agree."""
    published = np.load(shared / "parity" / f"{name}-adaint.npz")
    network = networks["adaint"]
    assert isinstance(network, AdaInt)
    codes = network.encode(squeezed(unit(photo(shared, name))))
    np.testing.assert_allclose(codes[0, :3].numpy(), published["weights"], atol=1e-3, rtol=0)
    vertices = network.vertices(codes)[0].numpy()
    np.testing.assert_allclose(vertices, published["vertices"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("model", CHECKPOINTS)
def test_enhanced_image(networks: dict[str, Network], shared: Path, model: str, name: str) -> None:
    """By trilinear interpolation every pixel is within 1 level of the authors' answer."""
    image = unit(photo(shared, name))
    levels = enhanced(networks[model], networks[model].encode(squeezed(image)), image)
    assert np.abs(levels - answer(shared, name, model)).max() <= 1


@pytest.mark.parametrize("model", ["adaint", "seplut"])
def test_half_precision_changes_no_pixel_by_more_than_a_level(
    networks: dict[str, Network], shared: Path, photos: Path, model: str
) -> None:
    """What tokens of half precision hold is as good as the whole code."""
    network = networks[model]
    assert network.half_codes
    free = [pixels(path) for path in photos.glob("*.jpg")]
    for levels in [*free, *(photo(shared, name) for name in PHOTOS)]:
        image = unit(levels)
        codes = network.encode(squeezed(image))
        whole, half = (enhanced(network, it, image) for it in (codes, codes.half().float()))
        assert np.abs(whole - half).max() <= 1


def import_guarded(shared: Path, name: str) -> Network:
    """Import one of the networks that are served with a guard."""
    network = import_checkpoint(shared / "weights" / file for file in GUARDED[name])
    return network.requires_grad_(requires_grad=False)


def inner(levels: np.ndarray) -> np.ndarray:
    """Leave out the last row and column, where the released operators read other grid points."""
    return levels[:-1, :-1].astype(int)


@pytest.mark.parametrize("name", PHOTOS)
def test_svdlut_without_guard(shared: Path, name: str) -> None:
    """Its table answers within 1 level of the authors' code."""
    network = import_guarded(shared, "svdlut")
    assert isinstance(network, SvdLut)
    network.guard = 0.0
    image = unit(photo(shared, name))
    levels = enhanced(network, network.encode(squeezed(image)), image)
    assert np.abs(inner(levels) - inner(answer(shared, name, "svdlut"))).max() <= 1


@pytest.mark.parametrize("name", PHOTOS)
def test_lutwithbgrid_without_guard(shared: Path, name: str) -> None:
    """It answers within 1 level of the authors' code; its table within 1 on average."""
    network = import_guarded(shared, "bgrid")
    assert isinstance(network, LutWithBGrid)
    network.guard = 0.0
    image = unit(photo(shared, name))
    codes = network.encode(squeezed(image))
    exact = network.transform(codes, image.flatten(2).transpose(1, 2))[0]
    levels = exact.clamp(0, 1).mul(255).round().numpy().reshape(*image.shape[2:], 3)
    expected = inner(answer(shared, name, "bgrid"))
    assert np.abs(inner(levels) - expected).max() <= 1
    assert np.abs(inner(enhanced(network, codes, image)) - expected).mean() < 1


@pytest.mark.parametrize("model", GUARDED)
def test_a_guarded_table_keeps_to_its_bounds(shared: Path, photos: Path, model: str) -> None:
    """By default no lattice point is below a fifth of its input, or above the mirror of that."""
    network = import_guarded(shared, model)
    lattice = identity_table(network.lut_size)
    images = [unit(pixels(path)) for path in photos.glob("*.jpg")]
    tables = torch.cat([network(squeezed(image)).table for image in images])
    assert (tables >= 0.2 * lattice - 1e-6).all()
    assert (tables <= 1.0 - 0.2 * (1.0 - lattice) + 1e-6).all()
    assert isinstance(network, (SvdLut, LutWithBGrid))
    network.guard = 0.0
    unguarded = torch.cat([network(squeezed(image)).table for image in images])
    assert (unguarded < 0.2 * lattice - 1e-6).any()
