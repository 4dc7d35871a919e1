"""Published tables give the images that their authors' code computes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.restoration.apply import upscale
from app.restoration.engine import Model
from app.restoration.lerf import Resampler
from app.restoration.methods import METHODS, import_tables
from tests.helpers.published import read_pixels
from tests.restoration.oracles import sr_lut

pytestmark = pytest.mark.reference

IMAGES = ("bird", "butterfly", "head")


def read(shared: Path, name: str) -> NDArray[np.uint8]:
    """Read an image of Set5, or a published result."""
    return read_pixels(shared / "spatial" / "set5" / f"{name}.png")


@cache  # computing the tables of SP-LUT takes seconds
def load(shared: Path, pattern: str) -> Model | Resampler:
    """Import published files."""
    imported = import_tables(sorted((shared / "spatial").glob(pattern)))
    assert imported is not None
    return METHODS[imported.method](imported.tables, imported.hparams)


def enlarge(model: Model | Resampler, pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Enlarge an image as the service does, in strips."""
    return upscale(pixels, model, scale, lambda run, parts: [run(part) for part in parts])


def psnr(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """Compute the PSNR of luma (BT.601, studio swing) without a border of 4 pixels."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    difference = ((found.astype(float) - expected) @ weights)[4:-4, 4:-4]
    return float(10 * np.log10(255**2 / np.square(difference).mean()))


@pytest.mark.parametrize("name", IMAGES)
def test_mulut_is_exact(shared: Path, name: str) -> None:
    """MuLUT x4 reproduces the authors' images exactly."""
    found = enlarge(load(shared, "mulut/*.npy"), read(shared, f"{name}-lr-x4"), 4)
    np.testing.assert_array_equal(found, read(shared, f"{name}-x4-mulut"))


@pytest.mark.parametrize("name", IMAGES)
def test_sr_lut_differs_by_the_tie_rule_alone(shared: Path, name: str) -> None:
    """With the authors' wrong corners the formulas give their images; without, ours."""
    table = np.load(shared / "spatial" / "srlut" / "Model_S_x4_4bit_int8.npy").reshape(-1, 16)
    pixels, published = read(shared, f"{name}-lr-x4-srlut"), read(shared, f"{name}-x4-srlut")
    planes = pixels.transpose(2, 0, 1)
    with_bug = np.stack([sr_lut(table, plane, 4, tie_bug=True) for plane in planes], -1)
    np.testing.assert_array_equal(with_bug, published)
    correct = np.stack([sr_lut(table, plane, 4, tie_bug=False) for plane in planes], -1)
    found = enlarge(load(shared, "srlut/*x4*"), pixels, 4)
    np.testing.assert_array_equal(found, correct)
    original = read(shared, f"{name}-hr")
    assert abs(psnr(found, original) - psnr(published, original)) < 0.01


@pytest.mark.parametrize(("scale", "least"), [(2, 33.4), (3, 30.5)])
def test_sr_lut_at_other_scales(shared: Path, scale: int, least: float) -> None:
    """SR-LUT x2 and x3 enlarge better than Lanczos."""
    model = load(shared, f"srlut/*x{scale}*")
    results = []
    for name in IMAGES:
        found = enlarge(model, read(shared, f"{name}-lr-x{scale}"), scale)
        original = read(shared, f"{name}-hr")[: found.shape[0], : found.shape[1]]
        results.append(psnr(found[: original.shape[0], : original.shape[1]], original))
    assert np.mean(results) > least


@pytest.mark.parametrize("name", IMAGES)
def test_sp_lut_is_within_a_level(shared: Path, name: str) -> None:
    """SP-LUT S, whose tables are computed from the networks, is equal but for rounding."""
    found = enlarge(load(shared, "splut/SPLUT_S*"), read(shared, f"{name}-lr-x4-srlut"), 4)
    difference = np.abs(found.astype(int) - read(shared, f"{name}-x4-splut-s"))
    assert difference.max() <= 1
    assert (difference > 0).sum() <= 6


@pytest.mark.slow
def test_sp_lut_large(shared: Path) -> None:
    """SP-LUT L has the published gain over S: 0.5 dB."""
    means = []
    for size in "SL":
        model = load(shared, f"splut/SPLUT_{size}*")
        pairs = [(read(shared, f"{it}-lr-x4-srlut"), read(shared, f"{it}-hr")) for it in IMAGES]
        means.append(np.mean([psnr(enlarge(model, low, 4), high) for low, high in pairs]))
    assert 0.45 < means[1] - means[0] < 0.65


def test_tinylut(shared: Path) -> None:
    """TinyLUT is as good as published: on Set5's five images 30.22 dB, on these three 0.4 less."""
    model = load(shared, "tinylut/*")
    pairs = [(read(shared, f"{it}-lr-x4"), read(shared, f"{it}-hr")) for it in IMAGES]
    assert np.mean([psnr(enlarge(model, low, 4), high) for low, high in pairs]) > 29.8


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lerf_is_within_a_level(shared: Path, name: str, scale: int) -> None:
    """LeRF-G gives the published results at every scale."""
    found = enlarge(load(shared, "lerf-g/*.npy"), read(shared, f"{name}-lr-x{scale}"), scale)
    expected = read(shared, f"{name}-x{scale}-lerf-g")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1
