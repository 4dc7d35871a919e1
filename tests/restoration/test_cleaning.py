"""Cleaning: the measured damage, the mixed tables, and the changed pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.errors import BadModel
from app.restoration.apply import clean, measure_chroma
from app.restoration.cleaning import (
    KNOTS,
    LUMA,
    Bands,
    Cleaner,
    Cleaners,
    Damage,
    Planes,
    blend_weights,
    build_cleaner,
    certain_damage,
    measure_bands,
)
from app.restoration.engine import Model
from app.restoration.methods import METHODS
from tests.helpers.restoration import cleaning, denoising


def run_serially(function, parts) -> None:
    """Run strips one after the other."""
    for part in parts:
        function(part)


def gray_noise(sigma: float, *, deep: bool = False) -> NDArray[np.uint8 | np.uint16]:
    """Return a middle gray with noise of luma."""
    noise = np.random.default_rng(0).normal(128, sigma, (400, 300, 1)).repeat(3, 2)
    if deep:
        return np.rint(noise * 257).astype(np.uint16)
    return np.rint(noise).astype(np.uint8)


@pytest.fixture(scope="module")
def cleaner() -> Cleaner:
    """Build the cleaner whose corrections are known."""
    imported = cleaning()
    return build_cleaner(imported.tables, imported.hparams)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("deep", [False, True])
def test_noise_is_estimated(sigma: float, deep: bool) -> None:
    """The estimate is the deviation, or somewhat less: the quietest tenth of the blocks counts."""
    assert 0.8 * sigma < measure_bands(gray_noise(sigma, deep=deep)).noise < 1.05 * sigma


def test_edges_are_not_noise() -> None:
    """Stripes along rows or columns, and a detailed half of an image, are not noise."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 255
    assert measure_bands(stripes).noise == 0
    assert measure_bands(stripes.transpose(1, 0, 2)).noise == 0
    half = gray_noise(20)
    half[:200] = 128
    assert measure_bands(half).noise == 0


def test_large_images_are_sampled() -> None:
    """Of 6 megapixels a part is measured, with the same result."""
    large = np.tile(gray_noise(5), (5, 10, 1))
    assert measure_bands(large).noise == pytest.approx(measure_bands(gray_noise(5)).noise, rel=0.05)


def test_an_image_smaller_than_a_block_has_no_noise() -> None:
    """Nothing can be measured on 15 rows."""
    assert measure_bands(gray_noise(5)[:15]).noise == 0


def shift(image: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Return an image shifted cyclically."""
    return np.roll(image, (rows, columns), (0, 1))


def test_texture_is_coarser_than_noise() -> None:
    """White noise is equal in both bands; averaged with its neighbours it is a texture."""
    noise = gray_noise(20)
    around = [shift(noise, dy, dx).astype(float) for dy in (0, 1) for dx in (0, 1)]
    texture = np.mean(around, axis=0).round().astype(np.uint8)
    white, coarse = measure_bands(noise), measure_bands(texture)
    assert 0.9 < white.coarse < 1.4
    assert coarse.coarse > 2
    assert certain_damage(None, white).noise == white.noise
    assert coarse.noise > 3
    assert certain_damage(None, coarse) == Damage(None, 0)


def test_texture_of_colour_is_not_noise(cleaner: Cleaner) -> None:
    """Stripes of colour that are narrower than half the size keep their chroma."""
    plain = np.random.default_rng(0).normal(128, 8, (96, 96, 3))
    stripes = plain.copy()
    stripes[:, ::2] += (40, -20, -1)  # of equal luma
    noisy, textured = (
        certain_damage(None, measure_bands(it.clip(0, 255).astype(np.uint8)))
        for it in (plain, stripes)
    )
    assert noisy.noise == pytest.approx(textured.noise, rel=0.1)
    assert (noisy.colour, textured.colour) == (True, False)
    chroma = Cleaner("chroma", {"noise": cleaner.tables["noise"]}, cleaner.hparams)
    cleaners = Cleaners(cleaner, chroma)
    assert [planes for planes, _ in cleaners.for_damage(noisy)] == ["luma", "chroma"]
    assert [planes for planes, _ in cleaners.for_damage(textured)] == ["luma"]


def test_detail_is_the_mean_of_the_whole_image() -> None:
    """Half of the image counts half, where the noise of the quietest blocks is 0."""
    half = gray_noise(20)
    half[:192] = 128
    half = half[:384]
    assert measure_bands(half).detail == pytest.approx(measure_bands(half[192:]).detail / 2)
    assert measure_bands(half).noise == 0


@pytest.mark.parametrize(
    ("quality", "bands", "damage"),
    [
        (91, Bands(0, 1, 1), Damage(91, 0)),
        (92, Bands(0, 1, 1), Damage(None, 0)),
        (75, Bands(0, 1, 0.2), Damage(75, 0)),
        (60, Bands(0, 1, 0.19), Damage(None, 0)),  # a plain drawing
        (59, Bands(0, 1, 0.19), Damage(59, 0)),  # blocks in a smooth sky
        (None, Bands(2.5, 1.5, 2), Damage(None, 2.5)),
        (None, Bands(2.4, 1.5, 2), Damage(None, 0)),
        (None, Bands(9, 1.7, 9), Damage(None, 0)),
        (None, Bands(9, 0.8, 9), Damage(None, 0)),  # dither
        (50, Bands(9, 1.7, 9), Damage(50, 0)),
        (95, Bands(5, 1, 5), Damage(None, 5)),
    ],
)
def test_only_certain_damage_is_treated(
    quality: float | None, bands: Bands, damage: Damage
) -> None:
    """High qualities, plain drawings, texture and dither are left alone."""
    assert certain_damage(quality, bands) == damage


@pytest.mark.parametrize(
    ("damage", "weights"),
    [
        (Damage(10, 0), (1, 0, 0, 0)),
        (Damage(30, 0), (1, 0, 0, 0)),
        (Damage(40, 0), (0.5, 0.5, 0, 0)),
        (Damage(50, 0), (0, 1, 0, 0)),
        (Damage(60, 0), (0, 0.5, 0.5, 0)),
        (Damage(82.5, 0), (0, 0, 0.5, 0)),
        (Damage(95, 0), (0, 0, 0, 0)),
        (Damage(100, 2), (0, 0, 0, 0)),
        (Damage(None, 4), (0, 0, 0, 0.5)),
        (Damage(70, 6), (0, 0, 1, 1)),
        (Damage(None, 100), (0, 0, 0, 1.5)),
    ],
)
def test_tables_are_mixed_by_damage(damage: Damage, weights: tuple[float, ...]) -> None:
    """Between two qualities the tables are mixed; above 95, and below 2 levels of noise, none."""
    assert dict(zip(KNOTS, blend_weights(damage), strict=True)) == pytest.approx(
        dict(zip(KNOTS, weights, strict=True))
    )


@pytest.mark.parametrize(
    ("damage", "strength", "change"),
    [
        (Damage(30, 0), 1.0, -9),
        (Damage(40, 0), 1.0, -7),
        (Damage(70, 6), 1.0, -5),
        (Damage(40, 0), 0.5, -4),  # 3.5, half to even
        (Damage(40, 0), 0.0, 0),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_correction_of_luma_is_added(
    cleaner: Cleaner, damage: Damage, strength: float, change: int, dtype: type
) -> None:
    """Each channel changes as much as luma, so that colours stay; 16 bits keep their low ones."""
    shape = (7, 9, 3)
    levels = np.random.default_rng(0).integers(20, 200, shape)
    step = 257 if dtype == np.uint16 else 1
    pixels = (levels * step + (step > 1) * 5).astype(dtype)
    model = cleaner.for_damage(damage)
    assert model is not None
    cleaned = pixels.copy()
    clean(cleaned, "luma", model, strength, run_serially)
    expected = change * step if step == 1 else round(change_of(damage) * strength * step)
    assert set(np.unique(cleaned.astype(int) - pixels)) == {expected}


def change_of(damage: Damage) -> int:
    """Return the change of luma, in 8-bit levels, that the tables hold."""
    return round(float(np.dot(blend_weights(damage), (-9, -5, -3, -2))))


def test_nothing_to_do_is_no_model(cleaner: Cleaner) -> None:
    """Without damage there is no model, so nothing can change."""
    assert cleaner.for_damage(Damage(95, 1.9)) is None


def test_black_and_white_are_not_exceeded(cleaner: Cleaner) -> None:
    """Corrections are clamped."""
    model = cleaner.for_damage(Damage(30, 0))
    assert model is not None
    pixels = np.array([[[200, 4, 0]]], np.uint8)
    clean(pixels, "luma", model, 1.0, run_serially)
    np.testing.assert_array_equal(pixels, [[[191, 0, 0]]])


@pytest.mark.parametrize("planes", ["rgb", "luma", "chroma"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strips_are_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, planes: Planes, dtype: type
) -> None:
    """Cut into strips, an image of odd sides is cleaned as in one piece."""
    rng = np.random.default_rng(0)
    tables = {name: rng.integers(-60, 60, (9**4, 1)).astype(np.int8) for name in cleaning().tables}
    model = build_cleaner(tables, cleaning().hparams).for_damage(Damage(45, 5))
    assert model is not None
    pixels = rng.integers(0, 65536, (37, 21, 3)).astype(dtype)
    whole, cut = pixels.copy(), pixels.copy()
    clean(whole, planes, model, 1.0, run_serially)
    assert not np.array_equal(whole, pixels)
    monkeypatch.setattr("app.restoration.apply.STRIP", 20 * 5)
    clean(cut, planes, model, 1.0, run_serially)
    np.testing.assert_array_equal(cut, whole)


def test_luma_is_what_the_model_makes_of_it() -> None:
    """The change of luma, by the weights of BT.601, is added to each channel."""
    rng = np.random.default_rng(0)
    tables = {name: rng.integers(-60, 60, (9**4, 1)).astype(np.int8) for name in cleaning().tables}
    model = build_cleaner(tables, cleaning().hparams).for_damage(Damage(45, 5))
    assert model is not None
    pixels = rng.integers(0, 256, (37, 20, 3)).astype(np.uint8)
    weights = np.rint(np.array(LUMA) * 1000).astype(int)
    luma = ((pixels @ weights + 500) // 1000).astype(np.uint8)  # half up
    after = model.run(luma[None])[0].astype(int) - luma
    expected = (pixels + after[..., None]).clip(0, 255)
    clean(pixels, "luma", model, 1.0, run_serially)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_chroma_changes_and_luma_stays(dtype: type) -> None:
    """Noisy chroma is replaced by its smooth mean, less 2 levels; luma is as before."""
    imported = cleaning("chroma")
    chroma = build_cleaner(imported.tables, imported.hparams)
    assert chroma.for_damage(Damage(30, 0)) is None
    model = chroma.for_damage(Damage(None, 6))
    assert model is not None
    levels = np.random.default_rng(0).integers(100, 150, (41, 39, 3))
    step = 257 if dtype == np.uint16 else 1
    pixels = (levels * step).astype(dtype)
    clean(pixels, "chroma", model, 1.0, run_serially)
    images = (np.rint(it / s).astype(np.uint8) for it, s in ((levels, 1), (pixels, step)))
    before, after = (np.asarray(Image.fromarray(it).convert("YCbCr")).astype(int) for it in images)
    assert np.abs((after - before)[..., 0]).max() <= 1
    assert np.abs((after - before)[..., 1:].mean((0, 1)) + 2).max() < 0.3
    assert (after[..., 1:].std((0, 1)) < 0.6 * before[..., 1:].std((0, 1))).all()


def test_chroma_of_gray_is_neutral(cleaner: Cleaner) -> None:
    """Half a square at the borders counts as its pixels; gray has the chroma 128."""
    out = np.empty((2, 2, 3), np.uint8)
    for level in (0, 128, 255):
        measure_chroma(np.full((3, 5, 3), level, np.uint8), 1, out)
        assert (out == 128).all()
    measure_chroma(np.full((3, 5, 3), (0, 0, 255), np.uint8), 1, out)
    assert (out[0] == 255).all()


def test_strong_noise_is_left_to_a_denoiser(cleaner: Cleaner) -> None:
    """Below the noise that it is for, and for JPEGs, the tables clean."""
    imported = denoising(8)
    denoiser = METHODS["dnlut"](imported.tables, imported.hparams)
    assert isinstance(denoiser, Model)
    cleaners = Cleaners(cleaner, None, denoiser)

    def choose(damage: Damage) -> list[str]:
        return [planes for planes, _ in cleaners.for_damage(damage)]

    assert choose(Damage(None, 9)) == ["rgb"]
    assert choose(Damage(None, 4)) == ["luma"]
    assert choose(Damage(50, 9)) == ["rgb", "luma"]
    assert choose(Damage(95, 0)) == []
    pixels = np.full((5, 4, 3), (60, 130, 200), np.uint8)
    clean(pixels, "rgb", denoiser, 0.5, run_serially)
    assert np.abs(pixels.astype(int) - (64, 134, 204)).max() <= 2


def test_a_missing_table_is_named() -> None:
    """A cleaner without tables for a kind of damage is rejected."""
    imported = cleaning()
    del imported.tables["jpeg50_stage1_s"]
    with pytest.raises(BadModel, match="stage 1"):
        build_cleaner(imported.tables, imported.hparams)
