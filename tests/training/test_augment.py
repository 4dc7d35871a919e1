from __future__ import annotations

import numpy as np
import torch

from app.training.augment import (
    colours_at,
    cut_mix,
    pixel_indices,
    random_page,
    random_view,
    resize_square,
    to_gray,
)

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


def test_cut_mix_has_a_part_of_each_photo():
    """Given a black and a white photo of another size, one side is black and the rest white."""
    rng = np.random.default_rng(0)
    black, white = torch.zeros(3, 40, 60, dtype=torch.uint8), torch.full((3, 30, 20), 255).byte()

    lights = [cut_mix(black, white, rng).float() / 255.0 for _ in range(50)]

    assert all(it.shape == black.shape and it[:, 0, 0].sum() == 0 for it in lights)
    assert all(0.15 < it.mean() < 0.85 and it.unique().tolist() == [0, 1] for it in lights)
    across = [it[0, 0, -1] == 1 for it in lights]
    assert 10 < sum(across) < 40
    assert not black.any()


def test_resizing_gives_a_square_of_the_same_levels():
    """Given a flat image of bytes, its thumbnail is square and flat, in bytes."""
    flat = torch.full((3, 40, 60), 77, dtype=torch.uint8)

    for antialias in (False, True):
        small = resize_square(flat, 16, antialias=antialias)
        assert small.shape == (3, 16, 16)
        assert (small == 77).all()


def test_antialiasing_averages_what_plain_sampling_skips():
    """Given stripes finer than the thumbnail, only antialiasing turns them gray."""
    stripes = torch.zeros(1, 64, 64)
    stripes[..., ::8] = 1.0

    assert resize_square(stripes, 8, antialias=True).std() < 0.05
    assert resize_square(stripes, 8, antialias=False).unique().numel() == 1


def test_colours_are_read_where_they_lie():
    """Given indices, the colours of just these pixels come back, as rows."""
    image = torch.rand(3, 8, 8)

    indices = pixel_indices(100, 8, np.random.default_rng(0))

    assert colours_at(image, indices).shape == (100, 3)
    assert torch.equal(colours_at(image, indices)[7], image[:, indices[7] // 8, indices[7] % 8])


def test_pages_are_mostly_paper():
    """Given many drawn pages, most pixels of most have one colour, light or dark."""
    rng = np.random.default_rng(0)

    pages = [random_page(rng) for _ in range(40)]

    assert all(page.shape == (3, 512, 512) and page.dtype == torch.uint8 for page in pages)
    white = [(page == 255).all(dim=0).float().mean() > 0.5 for page in pages]
    assert 10 < sum(white) < 40
    assert all(page.float().std() > 1 for page in pages)


def test_gray_is_the_luma():
    """Given pure colours along either axis, all channels become their luma."""
    colours = torch.eye(3)
    expected = torch.tensor([0.299, 0.587, 0.114])[:, None].expand(3, 3)

    assert torch.allclose(to_gray(colours, 1), expected)
    assert torch.allclose(to_gray(colours, 0), expected.T)
