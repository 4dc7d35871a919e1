from __future__ import annotations

import numpy as np
import pytest

from app.training.scores import Score, mean_de2000, mean_score, score

PHOTO = np.random.default_rng(0).integers(40, 200, (32, 32, 3), np.uint8)


def test_psnr_is_that_of_the_8_bit_levels():
    """Given an answer off by 10 levels everywhere, the PSNR is 20 log10(255 / 10)."""
    assert score(PHOTO + 10, PHOTO).psnr == pytest.approx(20 * np.log10(25.5), abs=1e-4)


def test_structure_survives_brightness_better_than_noise():
    """Given a shift and noise of the same PSNR, the noise has the lower SSIM."""
    noise = np.random.default_rng(1).choice([-10, 10], PHOTO.shape)

    assert score(PHOTO + 10, PHOTO).ssim > score((PHOTO + noise).astype(np.uint8), PHOTO).ssim


def test_a_perfect_answer_has_no_difference():
    """Given the target itself: an infinite PSNR, an SSIM of 1, and no colour difference."""
    assert score(PHOTO, PHOTO) == Score(float("inf"), 1.0, 0.0, 0.0)


def test_de76_is_the_distance_in_lab():
    """Given white for black, the CIE 1976 difference is 100, the range of lightness."""
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)

    assert score(white, black).de76 == pytest.approx(100, abs=0.01)


def test_de2000_agrees_with_the_published_test_data():
    """Given pair 1 of Sharma, Wu and Dalal (2005), the difference is 2.0425."""
    pair = np.array([50.0, 2.6772, -79.7751]), np.array([50.0, 0.0, -82.7485])

    assert mean_de2000(*pair) == pytest.approx(2.0425, abs=1e-4)


def test_the_mean_is_that_of_each_figure():
    """Given two scores, their mean is figure by figure."""
    assert mean_score([Score(20, 0.8, 4, 3), Score(30, 1.0, 2, 1)]) == Score(25, 0.9, 3, 2)
