"""The device: a batch gives the results of single runs, on any hardware."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.luts import apply
from app.luts.local_lut import LocalLut
from app.luts.lut3d import Interpolation, Lut3D
from app.networks.base import Network
from app.policies import DevicePolicy
from app.serving.device import Device, apply_on, padded_sizes
from tests.helpers.networks import GLOBAL, LOCAL, make_network

pytestmark = pytest.mark.anyio

HARDWARE = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
        ],
    ),
]


def thumbnails(count: int) -> list[np.ndarray]:
    """Make different thumbnails of noise."""
    return list(np.random.default_rng(0).random((count, 3, 256, 256), np.float32))


def rough_lut(size: int = 9, *, shaped: bool = False) -> Lut3D:
    """Make a table that is neither smooth nor inside 0..1, as learned tables are."""
    generator = np.random.default_rng(1)
    noise = generator.normal(0, 0.1, (size, size, size, 3)).astype(np.float32)
    curves = np.sort(generator.random((3, 17)), axis=1).astype(np.float32) if shaped else None
    return Lut3D(Lut3D.identity(size).table + noise, curves)


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("architecture", GLOBAL)
async def test_a_batch_gives_the_results_of_single_runs(architecture: str, hardware: str) -> None:
    """Codes and tables of a padded batch are those of its members alone."""
    network: Network = make_network(architecture)
    photos = thumbnails(5)
    async with Device(DevicePolicy(name=hardware)) as device:
        await device.warm_up(network, 256, max_batch=8)
        together = await device.predict(network, 8, photos)
        alone = [(await device.predict(network, 8, [photo]))[0] for photo in photos]
        again = [await device.decode(network, prediction.code) for prediction in alone]
    assert len(together) == 5
    for batched, single, decoded in zip(together, alone, again, strict=True):
        np.testing.assert_allclose(batched.code, single.code, atol=1e-5)
        np.testing.assert_allclose(batched.lut.table, single.lut.table, atol=1e-5)
        np.testing.assert_allclose(decoded.table, single.lut.table, atol=1e-6)


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("architecture", LOCAL)
async def test_a_code_gives_the_tables_and_the_map_again(architecture: str, hardware: str) -> None:
    """The map that is applied is that of the code, in 255ths; its shares never exceed 1."""
    network: Network = make_network(architecture)
    async with Device(DevicePolicy(name=hardware)) as device:
        await device.warm_up(network, 256, max_batch=2)
        predictions = await device.predict(network, 2, thumbnails(2))
        again = [await device.decode(network, prediction.code) for prediction in predictions]
    for prediction, decoded in zip(predictions, again, strict=True):
        assert isinstance(prediction.lut, LocalLut)
        assert prediction.lut.map.shape == network.map_shape
        np.testing.assert_array_equal(decoded.map, prediction.lut.map)
        for one, other in zip(decoded.tables, prediction.lut.tables, strict=True):
            np.testing.assert_allclose(one.table, other.table, atol=1e-6)


def test_few_batch_sizes_are_in_use() -> None:
    """Batches of more than three are padded to powers of two, and to the largest size."""
    assert padded_sizes(1) == [1]
    assert padded_sizes(2) == [1, 2]
    assert padded_sizes(4) == [1, 2, 3, 4]
    assert padded_sizes(12) == [1, 2, 3, 4, 8, 12]


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("interpolation", ["tetrahedral", "trilinear"])
@pytest.mark.parametrize("shaped", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_torch_and_the_cpu_kernel_agree(
    hardware: str, interpolation: Interpolation, shaped: bool, dtype: type, photos: Path
) -> None:
    """A torch device gives the same pixels as the CPU kernel."""
    photo = np.asarray(Image.open(photos / "lake.jpg")).astype(dtype)
    if dtype is np.uint16:
        photo *= 257
    lut = rough_lut(shaped=shaped)
    expected, result = photo.copy(), photo.copy()
    apply.apply(expected, lut, interpolation)
    apply_on(torch.device(hardware), lut, interpolation, result)
    levels = np.abs(expected.astype(int) - result) / (257 if dtype is np.uint16 else 1)
    assert levels.max() <= 1


def test_a_missing_device_is_refused() -> None:
    """A missing CUDA device is an error at the start, not in the first request."""
    if torch.cuda.is_available():
        assert Device(DevicePolicy(name="cuda")).name == "cuda"
        return
    with pytest.raises(RuntimeError, match="no CUDA device"):
        Device(DevicePolicy(name="cuda"))
    assert Device(DevicePolicy(name="auto")).name == "cpu"
