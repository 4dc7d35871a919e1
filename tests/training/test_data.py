from __future__ import annotations

import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from app.errors import BadParameter, NotAnImage
from app.training.data import (
    Photos,
    PhotosConfig,
    as_planes,
    find_pairs,
    good_photos,
    is_held_out,
    photo_files,
    read_photo,
)

HELD_OUT = ["colosseum", "sunset", "tea-gardens"]


def inventory(folder: Path, **rows: tuple[str, str, str]) -> Path:
    """Write one; for each photo its licence, whether it is stylised, and its grade."""
    path = folder / "INVENTORY.tsv"
    lines = ["\t".join((f"{name}.png", *row)) for name, row in rows.items()]
    path.write_text("\n".join(("file\tlicence\tstylised\tgrade", *lines)) + "\n")
    return path


def test_a_folder_is_split_into_what_is_learned_and_what_is_held_out(small_photos):
    """Given six photos, three of which the hashes of their names hold out, three are left."""
    photos = Photos(PhotosConfig(folder=small_photos, held_out=3))

    assert [path.stem for path in photos.held_out] == HELD_OUT
    assert photos.train == photos.finished
    assert sorted(photos.train + photos.held_out) == photo_files(small_photos)


def test_the_name_alone_decides_what_is_held_out(small_photos):
    """Given fewer photos, the others are split as before."""
    (small_photos / "lake.png").unlink()
    photos = Photos(PhotosConfig(folder=small_photos, held_out=3))

    assert [path.stem for path in photos.held_out] == HELD_OUT


def test_an_inventory_tells_what_may_be_used_for_what(small_photos):
    """Unlisted photos and those without a free licence are left out; not all are finished."""
    listed = inventory(
        small_photos,
        lake=("CC0-1.0", "", "A"),
        sunset=("MIT", "", "A"),
        colosseum=("MIT", "", "B"),
        seeding=("MIT", "stylised", "A"),
        otters=("MIT (package); photos from Unsplash, Unsplash terms", "", "A"),
    )

    photos = Photos(PhotosConfig(folder=small_photos, inventory=listed, held_out=3))

    assert [path.stem for path in photos.train] == ["colosseum", "lake", "seeding"]
    assert [path.stem for path in photos.finished] == ["colosseum", "lake"]
    assert [path.stem for path in photos.held_out] == ["sunset"]
    assert photos.credits[1] == {"file": "lake.png", "licence": "CC0-1.0"}


def test_the_author_whom_a_file_names_is_credited(small_photos):
    """Given no column of authors, `TITLE_by_NAME` in a package states one."""
    columns = ["file", "licence", "grade", "stylised", "path in package"]
    path = "usr/share/backgrounds/greentock_by_Peter_Nerlich.jpg"
    rows = [columns, ["lake.png", "CC-BY-4.0", "A", "", path], ["sunset.png", "MIT", "A", "", ""]]
    listed = small_photos / "inventory.tsv"
    listed.write_text("\n".join("\t".join(row) for row in rows))

    photos = Photos(PhotosConfig(folder=small_photos, inventory=listed, held_out=2))

    (credit,) = photos.credits  # that of the other, which is not held out
    assert (credit["file"], credit["author"]) == ("lake.png", "Peter Nerlich")


def test_good_photos_may_be_the_held_out_ones(small_photos):
    """Given a folder, all of it is good, and one in eight or so is held out by default."""
    for i in range(40):
        shutil.copy(small_photos / "lake.png", small_photos / f"{i}.png")

    held_out = good_photos(small_photos, None, held_out=True)

    assert good_photos(small_photos, None) == photo_files(small_photos)
    assert held_out == [path for path in photo_files(small_photos) if is_held_out(path.name, 8)]
    assert 1 <= len(held_out) <= 12


def test_holding_out_nothing_is_refused(small_photos):
    """Given a photo that is not held out, and no other, there is nothing to judge by."""
    listed = inventory(small_photos, lake=("CC0-1.0", "", "A"))

    with pytest.raises(BadParameter, match="too few"):
        Photos(PhotosConfig(folder=small_photos, inventory=listed, held_out=3))


def test_an_inventory_without_the_columns_is_refused(small_photos):
    """Given a table of something else, the missing column is named."""
    path = small_photos / "INVENTORY.tsv"
    path.write_text("file\tweight\nlake.png\t3\n")

    with pytest.raises(BadParameter, match="stylised"):
        Photos(PhotosConfig(folder=small_photos, inventory=path))


def test_an_inventory_that_is_not_there_is_refused(small_photos):
    """Given a wrong path, it is named."""
    config = PhotosConfig(folder=small_photos, inventory=small_photos / "none.tsv")

    with pytest.raises(BadParameter, match=r"none\.tsv"):
        Photos(config)


def test_a_folder_without_photos_is_refused(tmp_path):
    """Given an empty folder, it is named."""
    with pytest.raises(BadParameter, match="no photographs"):
        photo_files(tmp_path)


def test_photos_of_16_bits_are_rounded_to_8(tmp_path):
    """Given the same 16-bit samples as PNG and as TIFF, each sample is the nearest level."""
    samples = np.array([[[0, 128, 129], [32767, 65000, 65535]]], np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(samples))
    tifffile.imwrite(tmp_path / "b.tif", samples, photometric="rgb")

    for name in ("a.png", "b.tif"):
        assert read_photo(tmp_path / name).tolist() == [[[0, 0, 1], [127, 253, 255]]]


def test_what_is_no_photo_is_refused(tmp_path):
    """Given a text file that is called a photo, the problem is that it is no image."""
    (tmp_path / "a.png").write_text("not at all")

    with pytest.raises(NotAnImage):
        read_photo(tmp_path / "a.png")
    with pytest.raises(BadParameter, match=r"b\.png"):
        read_photo(tmp_path / "b.png")


def test_planes_are_the_channels(small_photos):
    """Given pixels, the planes hold them channel by channel."""
    pixels = read_photo(small_photos / "lake.png")

    assert np.array_equal(as_planes(pixels)[2], pixels[..., 2])


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
    """Given photos alone, the folder is rejected, and the message states the expected layout."""
    with pytest.raises(BadParameter, match="NAME-input"):
        find_pairs(small_photos, "test")
