from __future__ import annotations

import numpy as np
import torch

from app.training.views import collage, colours_at, random_places, random_view, squeezed

IMAGE = torch.arange(3 * 40 * 60, dtype=torch.int32).view(3, 40, 60)


def test_views_keep_at_least_the_smallest_share_of_each_side():
    """Given many views of at least 60 %, none is smaller, and sizes differ."""
    rng = np.random.default_rng(0)

    sizes = {tuple(random_view(IMAGE, 0.6, rng).shape[1:]) for _ in range(100)}

    assert min(height for height, _ in sizes) >= 24
    assert min(width for _, width in sizes) >= 36
    assert len(sizes) > 20


def test_every_other_view_is_mirrored():
    """Given whole views, each is the image or its mirror image, about half of each."""
    rng = np.random.default_rng(0)

    mirrored = 0
    for _ in range(200):
        view = random_view(IMAGE, 1.0, rng)
        mirrored += torch.equal(view, IMAGE.flip(2))
        assert torch.equal(view, IMAGE) or torch.equal(view, IMAGE.flip(2))

    assert 70 < mirrored < 130


def test_a_collage_has_a_part_of_each_photo():
    """Given a black and a white photo of another size, one side is black and the rest white."""
    rng = np.random.default_rng(0)
    black, white = torch.zeros(3, 40, 60, dtype=torch.uint8), torch.full((3, 30, 20), 255).byte()

    lights = [collage(black, white, rng).float() / 255.0 for _ in range(50)]

    assert all(it.shape == black.shape and it[:, 0, 0].sum() == 0 for it in lights)
    assert all(0.15 < it.mean() < 0.85 and it.unique().tolist() == [0, 1] for it in lights)
    across = [it[0, 0, -1] == 1 for it in lights]
    assert 10 < sum(across) < 40
    assert not black.any()


def test_squeezing_gives_a_square_of_the_same_levels():
    """Given a flat image of bytes, its thumbnail is square and flat, in bytes."""
    flat = torch.full((3, 40, 60), 77, dtype=torch.uint8)

    for antialias in (False, True):
        small = squeezed(flat, 16, antialias=antialias)
        assert small.shape == (3, 16, 16)
        assert (small == 77).all()


def test_antialiasing_averages_what_plain_sampling_skips():
    """Given stripes finer than the thumbnail, only antialiasing turns them gray."""
    stripes = torch.zeros(1, 64, 64)
    stripes[..., ::8] = 1.0

    assert squeezed(stripes, 8, antialias=True).std() < 0.05
    assert squeezed(stripes, 8, antialias=False).unique().numel() == 1


def test_colours_are_read_where_they_lie():
    """Given places, the colours of just these pixels come back, as rows."""
    image = torch.rand(3, 8, 8)

    places = random_places(100, 8, np.random.default_rng(0))

    assert colours_at(image, places).shape == (100, 3)
    assert torch.equal(colours_at(image, places)[7], image[:, places[7] // 8, places[7] % 8])
