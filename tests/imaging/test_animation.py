"""Animations are decoded and encoded frame by frame; Pillow reads and writes the other side."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.errors import (
    BadParameter,
    DamagedImage,
    Problem,
    ResultTooLarge,
    TooManyFrames,
    TooManyPixels,
)
from app.imaging.animation import (
    AnimationPlan,
    Unchanged,
    check_animation,
    convert_animation,
    find_representative,
)
from app.imaging.codecs import ImageFormat, avif_sequence
from app.imaging.codecs.frames import (
    AnimationSettings,
    Clock,
    Frame,
    StoredFrame,
    compose,
    find_changes,
)
from app.imaging.metadata import MetadataPolicy
from app.imaging.probe import probe
from app.imaging.raster import Animation, Metadata
from app.imaging.resize import make_thumbnail
from app.policies import Limits
from tests.helpers.animations import (
    DURATIONS,
    FORMATS,
    HEIGHT,
    WIDTH,
    Shown,
    animation,
    moving_frames,
    read_animation,
    tiny_gif,
)
from tests.helpers.files import saved, source
from tests.helpers.videos import streams

AVIF_DURATIONS = [40.0, 1.0, 100.0, 250.0, 40.0]  # no picture has none
EXACT = {"apng": 0.0, "webp": 6.0, "gif": 6.0}  # mean levels that writing a format costs


class Inverted:
    """Inverts colours."""

    def apply(self, pixels: NDArray[np.uint8]) -> None:
        """Invert them."""
        np.subtract(255, pixels, out=pixels)


def plan(image_format: str, *, max_side: int | None = None, opaque: bool = False) -> AnimationPlan:
    """Make a plan."""
    return AnimationPlan(
        ImageFormat[image_format.upper()], 95, max_side, MetadataPolicy.KEEP, opaque
    )


def converted(
    body: bytes, image_format: str, prepare: type = Unchanged, max_side: int | None = None
) -> Shown:
    """Convert an animation as the service does, and read the result with Pillow."""
    probed = source(body)
    opaque = find_representative(probed, 8, antialias=True).opaque
    made = convert_animation(probed, prepare, plan(image_format, max_side=max_side, opaque=opaque))
    return read_animation(made)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("image_format", FORMATS)
def test_frames_are_composed(image_format: str, transparent: bool) -> None:
    """Every frame is as Pillow shows it, whichever part of it is stored."""
    body = animation(image_format, transparent=transparent)
    probed, expected = source(body), read_animation(body)
    assert probed.header.animation is not None
    assert probed.header.animation.plays == 3
    assert probed.header.animation.frames == len(DURATIONS)
    assert probed.header.animation.seconds == pytest.approx(sum(expected.milliseconds) / 1000)
    codec = probed.format.codec.animation
    assert codec is not None
    for shown, (canvas, seconds), duration in zip(
        expected.frames, compose(codec.read(body), WIDTH, HEIGHT), DURATIONS, strict=True
    ):
        assert seconds == Fraction(duration, 1000)
        visible = canvas[..., 3] > 0
        np.testing.assert_array_equal(canvas[..., 3], shown[..., 3])
        np.testing.assert_array_equal(canvas[visible], shown[visible])


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("own", FORMATS)
@pytest.mark.parametrize("image_format", FORMATS)
def test_conversion_keeps_the_animation(image_format: str, own: str, transparent: bool) -> None:
    """Frames, durations, plays and alpha survive; colours as far as the format holds them."""
    body = animation(own, transparent=transparent)
    before, after = read_animation(body), converted(body, image_format)
    assert after.milliseconds == before.milliseconds
    assert after.plays == before.plays
    np.testing.assert_array_equal(after.frames[..., 3], before.frames[..., 3])
    visible = before.frames[..., 3] > 0
    change = np.abs(after.frames.astype(int) - before.frames)[visible].mean()
    assert change <= EXACT[image_format]


@pytest.mark.parametrize("transparent", [False, True])
def test_avif_sequences_are_read(transparent: bool) -> None:
    """Frames, durations and plays; Pillow stores 0 ms as 1, and repeats without end."""
    body = animation("avif", transparent=transparent)
    probed, expected = source(body), read_animation(body)
    assert probed.header.animation == Animation(5, pytest.approx(0.431), 0)
    assert expected.milliseconds == AVIF_DURATIONS
    frames = list(compose(avif_sequence.read(body), WIDTH, HEIGHT))
    assert [float(seconds) * 1000 for _, seconds in frames] == pytest.approx(AVIF_DURATIONS)
    shown = [it.pixels for it in avif_sequence.read(body)]
    np.testing.assert_array_equal(np.stack(shown), expected.frames)
    for found, original in zip(shown, moving_frames(), strict=True):
        visible = found[..., 3] == 255
        assert np.abs(found[visible][:, :3].astype(int) - original[visible]).mean() < 8
    assert bool(np.stack(shown)[..., 3].min() < 5) is transparent


@pytest.mark.slow  # runs ffprobe
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("own", [*FORMATS, "avif"])
def test_conversion_to_avif(own: str, transparent: bool, tmp_path: Path) -> None:
    """Frames, durations, plays and alpha survive; ffprobe reads the file as well."""
    body = animation(own, transparent=transparent)
    before, probed = read_animation(body), source(body)
    made = convert_animation(probed, Unchanged, plan("avif", opaque=not transparent))
    after, header = read_animation(made), source(made).header
    assert after.milliseconds == AVIF_DURATIONS
    assert probed.header.animation is not None
    assert header.animation == Animation(5, pytest.approx(0.431), probed.header.animation.plays)
    assert np.abs(after.frames[..., 3].astype(int) - before.frames[..., 3]).mean() < 0.1
    visible = before.frames[..., 3] > 0
    assert np.abs(after.frames.astype(int) - before.frames)[visible].mean() < 6
    (tmp_path / "made.avif").write_bytes(made)
    video = [it for it in streams(tmp_path / "made.avif") if int(it["nb_read_packets"]) > 1]
    assert [int(it["nb_read_packets"]) for it in video] == [5] * (1 + transparent)


def test_avif_repeats_as_in_browsers() -> None:
    """Without an edit list it does without end, and not at all where the list does not state it."""
    body = animation("avif")
    for edited, plays in (
        (body.replace(b"edts", b"skip"), 0),
        (body.replace(b"elst\1\0\0\1", b"elst\1\0\0\0"), 1),
    ):
        assert edited != body
        found = source(edited).header.animation
        assert found is not None
        assert found.plays == plays


@pytest.mark.parametrize("image_format", [*FORMATS, "avif"])
def test_frames_in_which_nothing_is_visible(image_format: str) -> None:
    """They stay so, at the beginning as well."""
    frames = [np.zeros((8, 8, 4), np.uint8), np.full((8, 8, 4), 255, np.uint8)]
    made = convert_animation(source(apng([*frames, frames[0]])), Unchanged, plan(image_format))
    alpha = read_animation(made).frames[..., 3]
    assert (alpha[[0, 2]] == 0).all()
    assert (alpha[1] == 255).all()


@pytest.mark.parametrize("box", [b"stts", b"mdhd", b"hdlr"])
def test_damaged_tracks_of_avif(box: bytes) -> None:
    """They are rejected, or enhanced as far as they are whole: no other error."""
    body, statuses = animation("avif"), []
    place = body.rindex(box)
    for length in (4, 12, 24, 32):
        for value in (b"\0", b"\xff"):
            edited = body[: place + 4] + length * value + body[place + 4 + length :]
            try:
                probed = source(edited)
                assert probed.header.animation is not None
                convert_animation(probed, Unchanged, plan("webp"))
            except Problem as problem:
                statuses.append(problem.status)
    assert set(statuses) == {422}


def test_a_gif_stays_as_it_is_but_for_its_palettes() -> None:
    """Its colours go through the filter exactly; all other bytes are the same."""
    body = animation("gif", transparent=True)
    before, after = read_animation(body), converted(body, "gif", Inverted)
    visible = before.frames[..., 3] > 0
    np.testing.assert_array_equal(after.frames[visible][:, :3], 255 - before.frames[visible][:, :3])
    made = convert_animation(source(body), Inverted, plan("gif"))
    assert len(made) == len(body)
    assert convert_animation(source(body), Unchanged, plan("gif")) == body


def test_texts_of_a_gif_go_with_its_metadata() -> None:
    """Comments are kept or stripped; the loop stays."""
    body = animation("gif", comment=b"by Anna")
    for metadata, expected in ((MetadataPolicy.KEEP, True), (MetadataPolicy.STRIP, False)):
        settings = AnimationPlan(ImageFormat.GIF, None, None, metadata, opaque=True)
        made = convert_animation(source(body), Unchanged, settings)
        assert (b"Anna" in made) is expected
        assert read_animation(made).plays == 3


@pytest.mark.parametrize("image_format", FORMATS)
def test_animations_are_reduced(image_format: str) -> None:
    """`max_side` reduces every frame."""
    after = converted(animation(image_format), image_format, max_side=30)
    assert after.frames.shape == (len(DURATIONS), 20, 30, 4)
    assert after.milliseconds == list(DURATIONS)


def test_static_pixels_of_a_dithered_gif_do_not_flicker() -> None:
    """Unchanged parts have the same colour in every frame, though they are dithered."""
    after = converted(animation("apng"), "gif")
    still = np.ones((HEIGHT, WIDTH), bool)
    still[8:16] = False
    assert len(np.unique(after.frames[0].reshape(-1, 4), axis=0)) > 200
    for frame in after.frames[1:]:
        np.testing.assert_array_equal(frame[still], after.frames[0][still])


def test_the_representative_is_near_the_median() -> None:
    """One frame of another colour is never the one that a look is predicted from."""
    frames = [np.full((16, 16, 3), level, np.uint8) for level in (255, 90, 100, 101, 0)]
    found = find_representative(source(apng(frames)), 8, antialias=True)
    np.testing.assert_array_equal(found.thumbnail, make_thumbnail(frames[2], 8, antialias=True))
    assert found.opaque


def apng(frames: list[NDArray[np.uint8]]) -> bytes:
    """Encode frames of a tenth of a second."""
    codec = ImageFormat.APNG.codec.animation
    assert codec is not None
    settings = AnimationSettings(90, Metadata(), b"", len(frames), 0, 1 << 20)
    return codec.write(iter([Frame(it, Fraction(1, 10)) for it in frames]), settings)


def test_disposal_and_blending() -> None:
    """A frame is blended or replaces, and then stays, is cleared, or earlier pixels return."""
    red, half = (255, 0, 0, 255), (0, 0, 255, 128)

    def patch(colour: tuple[int, ...], **options: object) -> StoredFrame:
        pixels = np.full((2, 2, 4), colour, np.uint8)
        return StoredFrame(1, 1, pixels, Fraction(1), **options)  # type: ignore[arg-type]

    frames = [
        patch(red),
        patch(half, over=True, disposal="restore"),
        patch((0, 0, 0, 0), over=True, disposal="clear"),
        patch(half, over=True),
        patch(half),
    ]
    shown = [canvas[1, 1].tolist() for canvas, _ in compose(frames, 4, 4)]
    assert shown == [[255, 0, 0, 255], [127, 0, 128, 255], [255, 0, 0, 255], list(half), list(half)]


def test_changes_are_cut_out() -> None:
    """A frame holds the rectangle that differs, or one pixel; places can be even."""
    first = np.zeros((6, 8, 3), np.uint8)
    second = first.copy()
    second[3, 5] = 9
    frames = [Frame(it, Fraction(0)) for it in (first, second, second)]
    for step, place in ((1, (5, 3)), (2, (4, 2))):
        whole, change, same = find_changes(frames, step)
        assert whole.samples.shape == (6, 8, 3)
        assert (change.left, change.top) == place
        assert change.samples[-1, -1].tolist() == [9, 9, 9]
        assert same.samples.shape == (1, 1, 3)


def test_durations_are_rounded_without_drift() -> None:
    """30 frames of a 30th of a second are a second, in any unit; players take 1 for 10."""
    clock = Clock(Fraction(1, 100))
    assert sum(clock.round(Fraction(1, 30)) for _ in range(30)) == 100
    quick = Clock(Fraction(1, 100), least=2)
    assert [quick.round(it) for it in (Fraction(1, 100), Fraction(0), Fraction(1, 10))] == [2, 0, 9]


def test_limits_hold_before_anything_is_decoded() -> None:
    """Frames, pixels of all frames and seconds are limited; the problem holds the numbers."""
    body = animation("gif")
    check_animation(source(body), Limits(max_frames=5, max_animation_pixels=5 * WIDTH * HEIGHT))
    for limits, what in (
        (Limits(max_frames=4), "5 frames; 4"),
        (Limits(max_animation_pixels=11_999), "12000 pixels in all frames; 11999"),
        (Limits(max_animation_seconds=0.4), "0.43 seconds; 0.4"),
    ):
        with pytest.raises(TooManyFrames, match=what) as rejected:
            check_animation(source(body), limits)
        assert rejected.value.extra["max_frames"] == limits.max_frames


def test_the_result_is_limited() -> None:
    """An animation that becomes too long ends when it does."""
    probed = probe(animation("webp"), Limits(max_animation_bytes=1000))
    for image_format in FORMATS:
        with pytest.raises(ResultTooLarge, match="more than 1000 bytes"):
            convert_animation(probed, Unchanged, plan(image_format))


def test_sides_that_a_format_cannot_hold() -> None:
    """They are a bad parameter, as for still images."""
    body = apng([np.full((1, 17_000, 3), level, np.uint8) for level in (0, 255)])
    with pytest.raises(BadParameter, match="16383"):
        convert_animation(source(body), Unchanged, plan("webp"))


def _rewrite_png(body: bytes, change: object) -> bytes:
    """Change the data of each chunk of a PNG: `change(kind, index, data)`."""
    result, position, counts = body[:8], 8, dict[bytes, int]()
    while position < len(body):
        length, kind = struct.unpack_from(">I4s", body, position)
        data = body[position + 8 : position + 8 + length]
        index = counts[kind] = counts.get(kind, -1) + 1
        data = change(kind, index, data)  # type: ignore[operator]
        if data is not None:
            check = struct.pack(">I", zlib.crc32(kind + data))
            result += struct.pack(">I", len(data)) + kind + data + check
        position += 12 + length
    return result


def _edit(kind: bytes, index: int, start: int, value: bytes) -> bytes:
    def change(found: bytes, number: int, data: bytes) -> bytes:
        if (found, number) != (kind, index):
            return data
        return data[:start] + value + data[start + len(value) :]

    return _rewrite_png(animation("apng"), change)


def _webp_with(place: int, value: bytes, frame: int = 1) -> bytes:
    body = animation("webp")
    position = -1
    for _ in range(frame + 1):
        position = body.index(b"ANMF", position + 1)
    start = position + 8 + place
    return body[:start] + value + body[start + len(value) :]


_TO_HUGE = (b",\0\0\0\0\1\0\1\0", b",\0\0\0\0\0\x80\0\x80")  # 32768 × 32768 pixels

HOSTILE = {
    "apng sequence": lambda: _edit(b"fcTL", 2, 0, b"\0\0\0\7"),
    "apng frame beyond the canvas": lambda: _edit(b"fcTL", 1, 12, b"\0\0\0\x3f"),
    "apng huge frame": lambda: _edit(b"fcTL", 1, 4, b"\x7f\xff\xff\xff\x7f\xff\xff\xff"),
    "apng empty frame": lambda: _edit(b"fcTL", 1, 4, bytes(8)),
    "apng unknown disposal": lambda: _edit(b"fcTL", 1, 24, b"\7"),
    "apng damaged data": lambda: _edit(b"fdAT", 2, 4, b"\0\0\0\0\0\0\0\0"),
    "apng short control": lambda: _rewrite_png(
        animation("apng"), lambda kind, _, data: data[:9] if kind == b"fcTL" else data
    ),
    "apng without data": lambda: _rewrite_png(
        animation("apng"), lambda kind, index, data: None if (kind, index) == (b"fdAT", 0) else data
    ),
    "apng cut": lambda: animation("apng")[:-100],
    "webp frame beyond the canvas": lambda: _webp_with(0, b"\x1e\0\0"),
    "webp frame of another size": lambda: _webp_with(6, b"\1\0\0"),
    "webp damaged frame": lambda: _webp_with(24, b"\xff" * 40),
    "webp cut": lambda: animation("webp")[:-200],
    "webp frame without an image": lambda: _webp_with(16, b"JUNK"),
    "gif huge frame": lambda: tiny_gif(1)[:-1] + tiny_gif(1)[19:].replace(*_TO_HUGE),
    "gif damaged code": lambda: tiny_gif(2).replace(b"\2\2D\1\0", b"\x0d\2D\1\0"),
    "gif cut": lambda: animation("gif")[:-300],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_animations(name: str) -> None:
    """They are damaged, whatever is done with them; nothing is allocated that they announce."""
    body = HOSTILE[name]()
    for steps in (
        lambda: find_representative(source(body), 8, antialias=True),
        lambda: convert_animation(source(body), Unchanged, plan("webp")),
    ):
        with pytest.raises(DamagedImage):
            steps()


def test_many_frames_are_not_counted_without_end() -> None:
    """A million frames are rejected by the header alone."""
    with pytest.raises(DamagedImage, match="more than 100000"):
        source(tiny_gif(1_000_000))
    with pytest.raises(TooManyFrames, match="2001 frames"):
        check_animation(source(tiny_gif(2001)), Limits())


def test_tiny_frames_on_a_giant_canvas() -> None:
    """All pixels of all frames count, whatever of them is stored."""
    probed = probe(tiny_gif(1000, 3000, 1300), Limits())
    with pytest.raises(TooManyFrames, match="3900000000 pixels"):
        check_animation(probed, Limits())
    with pytest.raises(TooManyPixels):
        probe(tiny_gif(2, 65_000, 65_000), Limits())


@pytest.mark.parametrize("frames", [1999, 100])
def test_frames_count_by_the_length_of_the_file(frames: int) -> None:
    """A few kilobytes must not take the time of hundreds of megapixels."""
    side = isqrt(400_000_000 // frames) - 1
    probed = probe(tiny_gif(frames, side, side), Limits())
    with pytest.raises(TooManyFrames, match=f"{len(probed.body)} bytes"):
        check_animation(probed, Limits())
    check_animation(probed, Limits(max_pixels_per_byte=1_000_000))


def test_frames_beyond_the_screen_of_a_gif_are_cut() -> None:
    """The first frame enlarges the screen; parts of later ones outside it are not shown."""
    body = tiny_gif(2).replace(b"GIF89a\1\0\1\0", b"GIF89a\0\0\0\0")
    assert (source(body).width, source(body).height) == (1, 1)
    outside = body[:-23] + body[-23:].replace(b",\0\0\0\0", b",\5\0\5\0")
    assert find_representative(source(outside), 4, antialias=True).opaque


def test_an_apng_may_have_a_default_image_that_is_no_frame() -> None:
    """It is left out of the animation."""
    first, *others = map(PilImage.fromarray, moving_frames())
    body = saved(first, "PNG", save_all=True, append_images=others, default_image=True)
    probed = source(body)
    assert probed.header.animation is not None
    assert probed.header.animation.frames == len(others)
    assert len(converted(body, "webp").frames) == len(others)


def test_problems_of_animations_are_problems() -> None:
    """Nothing else escapes from the decoders, wherever a file is damaged."""
    rng, problems = np.random.default_rng(1), []
    for image_format in FORMATS:
        body = animation(image_format)
        for _ in range(60):
            broken = bytearray(body)
            for place in rng.integers(8, len(body), 3):
                broken[place] = rng.integers(256)
            try:
                probed = source(bytes(broken))
                if probed.header.animation is not None:
                    check_animation(probed, Limits(max_animation_pixels=10_000_000))
                    find_representative(probed, 8, antialias=True)
                    convert_animation(probed, Unchanged, plan(image_format))
            except Problem as found:
                problems.append(found)
    assert problems
    assert all(it.status < 500 for it in problems)
