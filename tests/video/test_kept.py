"""The parts of a video that containers and encoders keep, and notes of those they lose."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BadVideo
from app.luts.apply import Pixels, prepare
from app.luts.lut3d import Lut3D
from app.settings import Settings
from app.video.enhance import enhance_video, make_encoding, read_first_frame
from app.video.frames import read_format
from app.video.options import CODECS, Codec, VideoCodec, VideoOptions
from app.video.pipeline import LookFilter
from app.video.scenes import Blend
from app.video.source import Source
from tests.helpers.videos import (
    FAST,
    TO_BT709,
    decode,
    enhance,
    frame_times,
    packet_hashes,
    probe,
    reject,
    run_ffmpeg,
    streams,
    video_stream,
    write_clip,
)

pytestmark = pytest.mark.slow  # runs ffmpeg

QUICK = ("--preset", "ultrafast", "--strength", 0)


@pytest.fixture(scope="module")
def various(rich: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write files with a stream that one container or another does not hold, by the suffix."""
    folder = tmp_path_factory.mktemp("various")
    (folder / "notes.txt").write_text("notes")
    attached, opus = folder / "attached.mkv", folder / "opus.mp4"
    attach = ("-attach", folder / "notes.txt", "-metadata:s:t", "mimetype=text/plain")
    run_ffmpeg("-i", rich, "-map", "0:v", "-map", "0:a", "-c", "copy", *attach, attached)
    run_ffmpeg("-i", rich, "-map", "0", "-map", "-0:d", "-c", "copy", "-c:a", "libopus", opus)
    return {".mkv": rich, ".mp4": attached, ".mov": opus, ".webm": opus}


@pytest.mark.parametrize(
    ("suffix", "arguments", "kept", "lost"),
    [
        (".mkv", QUICK, ["video", "audio"], "stream 2 (subtitle, mov_text)"),
        (".mp4", QUICK, ["video", "audio"], "stream 2 (attachment, notes.txt)"),
        (".mov", QUICK, ["video", "subtitle"], "stream 1 (audio, opus)"),
        (".webm", ("--preset", 12), ["video", "audio"], "stream 2 (subtitle, mov_text)"),
    ],
)
def test_streams_that_a_container_does_not_hold(
    suffix: str,
    arguments: tuple[object, ...],
    kept: list[str],
    lost: str,
    various: dict[str, Path],
    tmp_path: Path,
) -> None:
    """They are left out and named, whether they or the header are rejected; others are copied."""
    source, output = various[suffix], tmp_path / f"out{suffix}"
    printed = enhance(source, output, *arguments)
    assert printed == f"{output}: the container does not hold {lost}\n"
    assert [it["codec_type"] for it in streams(output) if it["codec_type"] != "data"] == kept
    if "audio" in kept:
        hashes = [[it[1] for it in packet_hashes(path, "a:0")] for path in (output, source)]
        assert hashes[0] == hashes[1]


def test_containers_that_hold_no_such_codec(rich: Path, tmp_path: Path) -> None:
    """The message comes before the first pass."""
    for suffix in ("ogv", "gif"):
        message = reject(rich, tmp_path / f"out.{suffix}")
        assert "the container does not hold libx264; choose another with --codec" in message


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("flag", ["--resume", "--no-resume"])
def test_odd_sizes(codec: str, flag: str, shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """Encoders that need even sizes leave a column and a row out; no other pixel changes."""
    lossless = ("-c:v", "ffv1", "-pix_fmt", "yuv420p", "-colorspace", "bt709")
    source = write_clip(tmp_path / "in.mkv", shots[:3, :101, :161], *TO_BT709, *lossless)
    output = tmp_path / "out.mp4"
    printed = enhance(source, output, "--codec", codec, "--quality", 0, flag, *QUICK)
    assert printed == (
        f"{output}: the encoder takes even sizes: 160x100 of 161x101 pixels are written\n"
    )
    for found, expected in zip(read_planes(output), read_planes(source), strict=True):
        height, width = found.shape
        assert np.abs(found.astype(int) - expected[:height, :width]).mean() < 0.5


def read_planes(path: Path) -> list[NDArray[np.uint8]]:
    """Return Y, Cb and Cr of the last frame."""
    with Source(path) as source:
        *_, frame = source.frames()
    return [plane.copy() for plane in read_format(frame).planes(frame)]


def test_pictures_of_one_column(shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """Nothing would be left of them."""
    lossless = ("-c:v", "ffv1", "-pix_fmt", "yuv420p")
    source = write_clip(tmp_path / "in.mkv", np.ascontiguousarray(shots[:2, :, :1]), *lossless)
    message = reject(source, tmp_path / "out.mp4", "--codec", "h264")
    assert "1x180 pixels are too few for the encoder" in message


@pytest.mark.parametrize(
    ("codec", "suffix", "pixels"),
    [("prores", "mov", "yuva444p10le"), ("ffv1", "mkv", "yuva422p12le")],
)
def test_transparency(
    codec: str, suffix: str, pixels: str, shots: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Encoders that hold alpha keep it, also through --resume; the note of others names it."""
    source, output = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    alpha = ("-vf", "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='mod(X,256)'")
    write_clip(source, shots[:3], *alpha, "-c:v", "ffv1", "-pix_fmt", pixels)
    for flag in ("--no-resume", "--resume"):
        assert enhance(source, output, "--codec", codec, flag) == ""
        found, expected = (read_alpha(it) for it in (output, source))
        assert np.abs(found - expected).max() < 0.01
    assert expected.std() > 0.2
    assert enhance(source, tmp_path / "out.mp4", "--codec", "h264", *QUICK).endswith(
        "out.mp4: libx264 does not hold transparency\n"
    )
    assert enhance(source, output, "--codec", codec, "--preview") == ""


def read_alpha(path: Path) -> NDArray[np.float64]:
    """Decode the alpha of a video: (F, H, W) in 0..1."""
    with av.open(path) as container:
        frames = [it.to_ndarray(format="rgba64le") for it in container.decode(video=0)]
    return np.stack(frames)[..., 3] / 65535


def test_fields(shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """Interlaced video stays interlaced, or a note states that it does not."""
    fields = ("-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ildct+ilme")
    source = write_clip(tmp_path / "in.mp4", shots[:10], *fields, *FAST)
    for name, codec in (("a.mp4", "h264"), ("b.mov", "prores")):
        assert enhance(source, tmp_path / name, "--codec", codec) == ""
        shown = probe(tmp_path / name, "-show_frames", "-select_streams", "v")["frames"]
        found = [(it["interlaced_frame"], it["top_field_first"]) for it in shown]
        assert found == 5 * [(1, 1)]
    assert video_stream(tmp_path / "a.mp4")["field_order"] == "tt"
    output = tmp_path / "c.mp4"
    assert enhance(source, output, "--codec", "hevc", *QUICK) == (
        f"{output}: libx265 does not state that the video is interlaced\n"
    )
    assert enhance(source, output, "--preview") == ""


def test_fields_have_their_own_chroma(shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """The look of an interlaced frame is that of its two fields."""
    fields = ("-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ildct+ilme")
    frame = read_first_frame(write_clip(tmp_path / "in.mp4", shots[::20], *fields, *FAST))
    layout = read_format(frame)
    whole = [plane.copy() for plane in layout.planes(frame)]
    look = Lut3D(Lut3D.identity(17).table ** 1.5)

    def make_apply(lut: Lut3D, dtype: np.dtype[np.uint16]) -> Callable[[Pixels], None]:
        return prepare(lut, "tetrahedral", dtype).apply

    with ThreadPoolExecutor(1) as pool:
        LookFilter(layout, make_apply, pool).apply(frame, Blend(look, look, 0.0))
        for field in (0, 1):
            alone = av.VideoFrame(frame.width, frame.height // 2, layout.name)
            small = read_format(alone)
            for target, plane in zip(small.planes(alone), whole, strict=True):
                target[:] = plane[field::2]
            LookFilter(small, make_apply, pool).apply(alone, Blend(look, look, 0.0))
            for found, plane in zip(layout.planes(frame), small.planes(alone), strict=True):
                np.testing.assert_array_equal(found[field::2], plane)


def test_stated_colours(shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """RGB becomes Y'CbCr, which is stated; so is a matrix that players would not infer."""
    source, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_clip(source, shots[:3], "-c:v", "libx264rgb", "-preset", "ultrafast")
    enhance(source, output, *QUICK, "--quality", 0)
    assert video_stream(output)["color_space"] == "smpte170m"
    assert np.abs(decode(output).astype(int) - decode(source)).mean() < 1
    wide = np.repeat(shots[:2], 3, axis=2)
    write_clip(source, wide, *FAST)
    enhance(source, output, *QUICK)
    assert video_stream(output).get("color_space", "unknown") == "unknown"
    enhance(source, output, "--preview")
    assert video_stream(output)["width"] > 1280
    assert video_stream(output)["color_space"] == "smpte170m"


@pytest.mark.parametrize("resume", [False, True])
def test_encoders_that_lose_frames(
    resume: bool, rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video with fewer frames is not written."""
    settings = (("b", "1"), ("rc_lookahead", "0"), ("deadline", "realtime"))
    dropping = VideoCodec("libvpx", settings=(*settings, ("drop-threshold", "100")))
    monkeypatch.setitem(CODECS, Codec.H264, dropping)
    options = VideoOptions(codec=Codec.H264, strength=0, resume=resume)
    with pytest.raises(BadVideo, match=r"the encoder lost \d+ of \d+ frames"):
        enhance_video(rich, tmp_path / "out.mkv", options, Settings.from_environment())
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("preset", range(9, 14))
def test_fast_presets_of_av1(preset: int, shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """They return all frames, however these are spaced."""
    uneven = ("-vf", "setpts='(N+0.4*sin(N))/25/TB+gte(N,20)*0.7/TB'", "-vsync", "vfr")
    small = np.ascontiguousarray(shots[:45, :96, :160])
    source = write_clip(tmp_path / "in.mp4", small, *uneven, *FAST, "-enc_time_base", "1/1000")
    options = VideoOptions(codec=Codec.AV1, preset=str(preset), strength=0)
    enhance_video(source, tmp_path / "out.mp4", options, Settings.from_environment())
    assert frame_times(tmp_path / "out.mp4") == pytest.approx(frame_times(source), abs=0.0015)
    assert len(frame_times(source)) == 45


def test_encoders_take_no_real_time_priority(rich: Path, tmp_path: Path) -> None:
    """Run by root, libsvtav1 gives it to the calling thread, whose child processes inherit it."""
    with Source(rich) as source, av.open(tmp_path / "out.webm", "w") as target:
        first = next(source.frames())
        make_encoding(source, tmp_path / "out.webm", first, VideoOptions()).add_to(
            target, Fraction(1, 1000)
        )
        threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}


def test_webm_holds_av1(rich: Path) -> None:
    """It is the default there, whichever codec the source has."""
    with Source(rich) as source:
        first = next(source.frames())
        assert (
            make_encoding(source, Path("out.webm"), first, VideoOptions()).codec
            is (CODECS[Codec.AV1])
        )
        assert (
            make_encoding(source, Path("out.mp4"), first, VideoOptions()).codec
            is (CODECS[Codec.H264])
        )
