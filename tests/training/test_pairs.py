from __future__ import annotations

import shutil

import pytest

from app.errors import BadParameter
from app.training.pairs import find_pairs


def test_parts_are_told_by_the_names_of_folders(pairs):
    """Given input_train/, target_train/ and so on, each part has its pairs, by name."""
    assert len(find_pairs(pairs, "train")) == 4
    assert [pair.name for pair in find_pairs(pairs, "test")] == ["sunset", "tea-gardens"]
    assert find_pairs(pairs, "test")[0].target == pairs / "target_test" / "sunset.png"


def test_one_pair_of_folders_serves_both_parts(pairs, tmp_path):
    """Given only input/ and target/, both parts are all of it."""
    for kind in ("input", "target"):
        shutil.copytree(pairs / f"{kind}_train", tmp_path / "plain" / kind)

    assert find_pairs(tmp_path / "plain", "train") == find_pairs(tmp_path / "plain", "test")
    assert len(find_pairs(tmp_path / "plain", "train")) == 4


def test_pairs_may_lie_side_by_side(small_photos, tmp_path):
    """Given NAME-input and NAME-SOMETHING in one folder, they are pairs."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for name in ("a-input", "a-expert-c", "b-input", "b-expert-c"):
        shutil.copy(small_photos / "lake.png", folder / f"{name}.png")

    found = find_pairs(folder, "test")

    assert [pair.name for pair in found] == ["a", "b"]
    assert found[1].target == folder / "b-expert-c.png"


def test_an_input_without_a_target_is_named(pairs):
    """Given a target too few, the lonely input is named."""
    (pairs / "target_test" / "sunset.png").unlink()

    with pytest.raises(BadParameter, match=r"input_test.sunset\.png: has no target"):
        find_pairs(pairs, "test")


def test_a_folder_of_plain_photos_has_no_pairs(small_photos):
    """Given photos alone, the folder is refused, and what is expected is said."""
    with pytest.raises(BadParameter, match="NAME-input"):
        find_pairs(small_photos, "test")
