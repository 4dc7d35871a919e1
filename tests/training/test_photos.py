from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from app.errors import BadParameter, NotAnImage
from app.training.photos import Photos, PhotosConfig, as_planes, photo_files, read_photo


def inventory(folder: Path, **rows: tuple[str, str, str]) -> Path:
    """Writes one; for each photo its licence, whether it is stylised, and its grade."""
    path = folder / "INVENTORY.tsv"
    lines = ["\t".join((f"{name}.png", *row)) for name, row in rows.items()]
    path.write_text("\n".join(("file\tlicence\tstylised\tgrade", *lines)) + "\n")
    return path


def test_a_folder_is_split_into_what_is_learned_and_what_is_held_out(small_photos):
    """Given six photos of which two are held out, four are left to learn from."""
    photos = Photos(PhotosConfig(folder=small_photos, held_out=2), seed=0)

    assert len(photos.train) == 4
    assert sorted(photos.train + photos.held_out) == photo_files(small_photos)


def test_the_seed_decides_the_split(small_photos):
    """Given the same seed, the same photos are held out; given some other, others are."""
    config = PhotosConfig(folder=small_photos, held_out=2)

    splits = [tuple(Photos(config, seed).held_out) for seed in range(8)]

    assert tuple(Photos(config, 0).held_out) == splits[0]
    assert len(set(splits)) > 1


def test_an_inventory_says_what_is_left_out_and_what_is_good_enough_to_judge_by(small_photos):
    """Unlisted photos are not used, stylised ones if asked for; only grade A is held out."""
    listed = inventory(
        small_photos,
        lake=("CC0-1.0", "", "A"),
        sunset=("MIT", "", "B"),
        otters=("MIT", "", "B"),
        seeding=("MIT", "stylised", "A"),
    )

    plain = PhotosConfig(folder=small_photos, inventory=listed, held_out=1)
    photos = Photos(plain, seed=0)
    all_photos = Photos(plain.model_copy(update={"stylised": True}), seed=0)

    assert [path.stem for path in photos.train] == ["otters", "sunset"]
    assert [path.stem for path in photos.held_out] == ["lake"]
    assert photos.licences == {"CC0-1.0": 1, "MIT": 2}
    assert [path.stem for path in all_photos.train] == ["otters", "seeding", "sunset"]
    assert all_photos.held_out == photos.held_out
    assert all_photos.licences == {"CC0-1.0": 1, "MIT": 3}


@pytest.mark.parametrize("held_out", [6, 7])
def test_holding_out_all_photos_is_refused(small_photos, held_out):
    """Given six photos, six cannot be held out, nor seven."""
    with pytest.raises(BadParameter, match="too few"):
        Photos(PhotosConfig(folder=small_photos, held_out=held_out), seed=0)


def test_an_inventory_without_the_columns_is_refused(small_photos):
    """Given a table of something else, the missing column is named."""
    path = small_photos / "INVENTORY.tsv"
    path.write_text("file\tweight\nlake.png\t3\n")

    with pytest.raises(BadParameter, match="stylised"):
        Photos(PhotosConfig(folder=small_photos, inventory=path, held_out=1), seed=0)


def test_an_inventory_that_is_not_there_is_refused(small_photos):
    """Given a wrong path, it is named."""
    config = PhotosConfig(folder=small_photos, inventory=small_photos / "none.tsv", held_out=1)

    with pytest.raises(BadParameter, match=r"none\.tsv"):
        Photos(config, seed=0)


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
