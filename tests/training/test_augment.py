from __future__ import annotations

import numpy as np
import pytest
import torch

from app.training.augment import (
    UNTOUCHED,
    DegradeConfig,
    colours_at,
    cut_mix,
    make_degradation,
    pixel_indices,
    random_degradation,
    random_page,
    random_view,
    resize_square,
    to_gray,
)

LEVELS = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)  # a gray ramp, one row high
RNG = np.random.default_rng
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


def test_an_untouched_photo_keeps_every_level():
    """Given no degradation, each level comes back as itself, in 0..1."""
    assert torch.equal((UNTOUCHED(LEVELS) * 255).round().byte(), LEVELS)


def test_one_stop_down_halves_the_light():
    """Given -1 stop, sRGB 188, half of the light of white, is what white becomes."""
    dark = random_degradation(DegradeConfig(exposure=(-1, -1)), RNG(0))(LEVELS)

    assert (dark[:, 0, 255] * 255).round().tolist() == [188, 188, 188]


def test_overexposed_colours_clip_at_white():
    """Given +1 stop, everything beyond half of the light is white."""
    bright = random_degradation(DegradeConfig(exposure=(1, 1)), RNG(0))(LEVELS)

    assert (bright[:, 0, 189:] == 1).all()
    assert (bright[:, 0, :187] < 1).all()


def test_white_balance_makes_grays_coloured():
    """Given a white balance of a stop or so, the channels of gray part."""
    cast = random_degradation(DegradeConfig(white_balance=1.0), RNG(0))(LEVELS)

    assert cast[:, 0, 128].std() > 0.02


def test_warm_light_is_red_and_cold_light_blue():
    """Given half a stop, half of the casts raise red and lower blue, the others the reverse."""
    warm, cold = (make_degradation(stops=(it, 0.0, -it))(LEVELS) for it in (0.5, -0.5))
    config, rng = DegradeConfig(temperature=(0.5, 0.5)), RNG(0)
    drawn = [random_degradation(config, rng)(LEVELS) for _ in range(40)]

    assert warm[0, 0, 128] > warm[1, 0, 128] > warm[2, 0, 128]
    assert 10 < sum(torch.equal(it, warm) for it in drawn) < 30
    assert all(torch.equal(it, warm) or torch.equal(it, cold) for it in drawn)


def test_contrast_leaves_mid_gray_where_it_is():
    """Given half the contrast, black and white come halfway towards mid gray."""
    flat = random_degradation(DegradeConfig(contrast=(0.5, 0.5)), RNG(0))(LEVELS)

    assert flat[0, 0, [0, 255]].tolist() == pytest.approx([0.25, 0.75], abs=1 / 255)


def test_no_saturation_is_gray_of_the_same_luma():
    """Given pure green without saturation, all channels are its luma, 0.587."""
    green = torch.tensor([0, 255, 0], dtype=torch.uint8)[:, None, None]

    gray = random_degradation(DegradeConfig(saturation=(0, 0)), RNG(0))(green)

    assert gray.flatten().tolist() == pytest.approx([0.587] * 3, abs=0.5 / 255)


def test_a_turned_hue_leaves_grays_alone():
    """Given a turn of the colours, grays stay and red is red no more."""
    turned = make_degradation(hue=60.0)
    red = torch.tensor([180, 40, 40], dtype=torch.uint8)[:, None, None]

    assert (turned(LEVELS) * 255 - LEVELS).abs().max() <= 1
    assert (turned(red) * 255 - red).abs().max() > 20


def test_outputs_are_whole_levels():
    """Given any degradation, what comes out could have been read from an 8-bit file."""
    config = DegradeConfig(exposure=(-3, 1), contrast=(0.5, 1.5), saturation=(0, 2), hue=20.0)

    levels = random_degradation(config, RNG(1))(LEVELS) * 255

    assert torch.allclose(levels, levels.round(), atol=1e-4)


def test_the_share_of_untouched_photos_is_kept():
    """Given a share of one half, about half of the draws change nothing."""
    config, rng = DegradeConfig(untouched=0.5, exposure=(-3, -1)), RNG(2)

    untouched = sum(random_degradation(config, rng) is UNTOUCHED for _ in range(1000))

    assert 430 < untouched < 570


def test_flattening_undoes_a_tone_curve():
    """Given a photograph to which smoothstep was applied, flattening gives the levels before."""
    before = torch.linspace(0, 1, 256)
    curved = (3 * before**2 - 2 * before**3).mul(255).round().byte().expand(3, 1, 256)

    flat = make_degradation(flattening=1.0)(curved)

    assert (flat[0, 0] - before).abs()[10:-10].max() < 0.02  # at the ends levels are lost


def test_a_shoulder_keeps_highlights_apart():
    """Given +1 stop with a shoulder, bright levels differ still, and shadows are as without."""
    soft = make_degradation(stops=1.0, shoulder=True)(LEVELS)[0, 0]
    hard = make_degradation(stops=1.0)(LEVELS)[0, 0]

    assert soft[[190, 220, 250]].unique().numel() == 3
    assert hard[[190, 220, 250]].unique().numel() == 1
    assert torch.equal(soft[:130], hard[:130])


def test_each_kind_of_damage_may_occur_alone():
    """Given a probability of a half, some photos are pale but not dark, and the other way."""
    config = DegradeConfig(probability=0.5, exposure=(-1, -1), saturation=(0, 0))
    red = torch.tensor([200, 40, 40], dtype=torch.uint8)[:, None, None]
    rng = RNG(0)

    seen = {
        tuple((random_degradation(config, rng)(red) * 255).round().flatten().int().tolist())
        for _ in range(60)
    }

    assert len(seen) == 4


def test_contrast_may_turn_about_another_pivot():
    """Given half the contrast about 0.2, that value stays and white comes down to 0.6."""
    flat = make_degradation(contrast=0.5, pivot=0.2)(LEVELS)

    assert flat[0, 0, [0, 51, 255]].tolist() == pytest.approx([0.1, 0.2, 0.6], abs=1 / 255)


def test_gamma_darkens_the_midtones_alone():
    """Given an exponent of 2, black and white stay and a half becomes a quarter."""
    dark = make_degradation(gamma=2.0)(LEVELS)

    assert dark[0, 0, [0, 128, 255]].tolist() == pytest.approx([0, 0.25, 1], abs=1 / 128)
