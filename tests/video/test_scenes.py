"""Cuts and smoothing, on numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.luts.lut3d import Lut3D
from app.video.analysis import FLASH_FRAMES, Analysis, _Histograms
from app.video.scenes import LookTrack, Scene, find_cuts, make_scenes, smooth_codes

RATE = 25


def make_analysis(changes: dict[int, tuple[float, float]], codes: NDArray[np.float32]) -> Analysis:
    """Make the analysis of 100 frames: (change, lasting change) of some, 0.01 of the others."""
    frames = 100
    change = np.full(frames, 0.01, np.float32)
    lasting = np.full(frames, 0.02, np.float32)
    for index, values in changes.items():
        change[index], lasting[index] = values
    keys = np.union1d(np.arange(0, frames, 5), list(changes)).astype(np.intp)
    per_key = codes[np.searchsorted(sorted(changes), keys, side="right")]
    return Analysis(np.arange(frames) / RATE, change, lasting, keys, per_key)


def distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Take the codes for levels."""
    return float(np.abs(first - second).max())


def test_cuts_are_found() -> None:
    """A large change that lasts is a cut; so is a smaller one with another look."""
    codes = np.array([[0.0], [0.0], [8.0]], np.float32)
    analysis = make_analysis({33: (0.6, 0.6), 71: (0.2, 0.2)}, codes)
    assert find_cuts(analysis, distance) == [0, 33, 71]


def test_what_is_no_cut() -> None:
    """Not a flash, not a small change with the same look, not fast motion."""
    codes = np.array([[0.0], [9.0], [0.0], [0.2]], np.float32)
    analysis = make_analysis({20: (0.7, 0.03), 22: (0.7, 0.7), 60: (0.2, 0.2)}, codes)
    analysis.lasting[22] = 0.05
    assert find_cuts(analysis, distance) == [0]
    moving = make_analysis({50: (0.3, 0.3)}, np.array([[0.0], [9.0]], np.float32))
    moving.changes[40:60] = 0.15
    moving.changes[50] = 0.3
    assert find_cuts(moving, distance) == [0]
    # As in the trailer of Big Buck Bunny, frames 900 to 905.
    motion = {53: (0.15, 0.14), 54: (0.14, 0.14), 55: (0.12, 0.19)}
    begins_fast = make_analysis(
        {50: (0.29, 0.43), **motion}, np.arange(5, dtype=np.float32)[:, np.newaxis] * 9
    )
    assert find_cuts(begins_fast, distance) == [0, 50]


def test_smoothing_has_no_phase() -> None:
    """A reversed series gives the reversed result; a constant and a straight line stay."""
    rng = np.random.default_rng(0)
    times = np.arange(51) / 5
    codes = rng.normal(size=(50, 3)).astype(np.float32)
    smoothed = smooth_codes(times, codes, 0.5)
    backwards = smooth_codes(times, codes[::-1].copy(), 0.5)[::-1]
    np.testing.assert_allclose(smoothed, backwards, atol=1e-5)
    assert np.abs(np.diff(smoothed, axis=0)).mean() < 0.3 * np.abs(np.diff(codes, axis=0)).mean()
    line = np.linspace(0, 1, 50, dtype=np.float32)[:, np.newaxis]
    np.testing.assert_allclose(smooth_codes(times, line, 0.5)[12:-12], line[12:-12], atol=1e-5)
    assert smooth_codes(times, codes, 0.0) is codes


def test_smoothing_overshoots_nothing() -> None:
    """A step stays between its two values and rises all the way, with uneven times too."""
    times = np.cumsum(np.random.default_rng(0).uniform(0.05, 0.3, 61))
    codes = np.repeat([[0.0], [1.0]], 30, axis=0).astype(np.float32)
    smoothed = smooth_codes(times, codes, 0.5)[:, 0]
    assert smoothed.min() >= 0
    assert smoothed.max() <= 1 + 1e-6
    assert (np.diff(smoothed) >= -1e-6).all()


def test_scenes_do_not_mix() -> None:
    """Each side of a cut keeps its codes; a constant scene has one."""
    analysis = make_analysis({50: (0.9, 0.9)}, np.array([[0.0], [5.0]], np.float32))
    for constant in (False, True):
        scenes = make_scenes(analysis, [0, 50], 2.0, constant=constant)
        assert [(scene.start, scene.stop) for scene in scenes] == [(0, 50), (50, 100)]
        np.testing.assert_allclose(scenes[0].codes, 0.0, atol=1e-6)
        np.testing.assert_allclose(scenes[1].codes, 5.0, atol=1e-5)
        assert (len(scenes[0].keys) == 1) is constant


def test_luts_are_interpolated_in_time() -> None:
    """Between two looks the table is linear in time, not in the number of the frame."""
    identity = Lut3D.identity(3).table

    def decode(code: NDArray[np.float32]) -> Lut3D:
        return Lut3D(identity * code[0])

    times = np.array([0.0, 0.1, 0.2, 1.0, 1.1, 1.2])
    first = Scene(0, 4, np.array([0, 3]), np.array([[0.0], [1.0]], np.float32))
    second = Scene(4, 6, np.array([4]), np.array([[7.0]], np.float32))
    track = LookTrack([first, second], decode, times)
    looks = [track.at(frame) for frame in range(6)]
    tops = [(1 - part) * a.table.max() + part * b.table.max() for a, b, part in looks]
    assert tops == pytest.approx([0.0, 0.1, 0.2, 1.0, 7.0, 7.0], abs=1e-6)
    assert [track.begins_scene(frame) for frame in range(6)] == [1, 0, 0, 0, 1, 0]
    assert looks[4].first is looks[5].first is looks[5].second


@pytest.mark.parametrize("frames", [1, 3, FLASH_FRAMES + 1, 12])
def test_lasting_changes(frames: int) -> None:
    """They compare the frame before with one after a flash, or with the last one."""
    histograms = [np.eye(3, 32, dtype=np.float32)[:, np.roll(range(32), i)] for i in range(frames)]
    recent = _Histograms()
    for histogram in histograms:
        recent.add(histogram)
    lasting = recent.finish()
    assert len(lasting) == len(recent.changes) == frames
    for index in range(1, frames):
        later = histograms[min(frames - 1, index + FLASH_FRAMES)]
        expected = (histograms[index - 1] != later).any()
        assert (lasting[index] > 0) == expected
