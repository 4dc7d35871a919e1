"""The command `video` on real clips: ffmpeg makes them, and reads the results."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.settings import Settings
from app.video.enhance import enhance_video
from app.video.options import VideoOptions
from tests.helpers.cli import invoke
from tests.helpers.videos import (
    CUTS,
    FAST,
    FRAMES,
    HEIGHT,
    RATE,
    TO_BT709,
    WIDTH,
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

pytestmark = pytest.mark.slow  # runs ffmpeg and whole programs

LOSSLESS = ("-c:v", "ffv1", "-pix_fmt", "yuv444p", "-colorspace", "bt709", "-color_range", "tv")


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory, shots: NDArray[np.uint8]) -> Path:
    """Encode the shots without loss, as BT.709 of limited range."""
    path = tmp_path_factory.mktemp("lossless") / "shots.mkv"
    return write_clip(path, shots, *TO_BT709, *LOSSLESS)


def test_everything_but_the_picture_is_kept(rich: Path, tmp_path: Path) -> None:
    """Number and times of the frames, audio, subtitles, chapters, metadata and rotation."""
    output = tmp_path / "out.mp4"
    assert enhance(rich, output, "--preset", "ultrafast") == ""
    assert frame_times(output) == pytest.approx(frame_times(rich), abs=1e-6)
    assert len(frame_times(output)) == FRAMES
    for kind in ("a:0", "s:0"):
        assert packet_hashes(output, kind) == packet_hashes(rich, kind)
    assert len(packet_hashes(output, "a:0")) > 100
    before, after = (probe(it, "-show_format", "-show_chapters") for it in (rich, output))
    assert after["format"]["duration"] == before["format"]["duration"]
    assert [(it["start_time"], it["end_time"], it["tags"]) for it in after["chapters"]] == [
        ("0.000000", "1.200000", {"title": "The lake"}),
        ("1.200000", "3.000000", {"title": "Otters and sunset"}),
    ]
    tags = after["format"]["tags"]
    assert (tags["title"], tags["com.example.key"]) == ("Three shots", "own")
    languages = {it["codec_type"]: it["tags"].get("language") for it in streams(output)}
    assert languages["audio"] == "deu"
    assert video_stream(output)["side_data_list"][0]["rotation"] == 90
    assert np.abs(decode(output).astype(int) - decode(rich)).mean() > 2  # and it was enhanced


def test_one_function_enhances_a_file(lossless: Path, tmp_path: Path) -> None:
    """It has the result of the command."""
    ours, theirs = tmp_path / "ours.mkv", tmp_path / "theirs.mkv"
    notes = enhance_video(lossless, ours, VideoOptions(smooth=0.2), Settings.from_environment())
    assert notes == []
    enhance(lossless, theirs, "--smooth", 0.2)
    assert np.abs(decode(ours).astype(int) - decode(theirs)).max() <= 1


def test_luts_are_those_of_the_scenes(lossless: Path, tmp_path: Path) -> None:
    """Ffmpeg's lut3d makes the same frames of the .cube files that the edit list names."""
    output, cubes = tmp_path / "out.mkv", tmp_path / "cubes"
    enhance(lossless, output, "--per-scene", "--cube", cubes)
    events = read_events(cubes / "scenes.edl")
    assert [begin for begin, _, _ in events] == list(CUTS)
    assert [end for _, end, _ in events] == [*CUTS[1:], FRAMES]
    found, source = decode(output), decode(lossless)
    assert found.shape == source.shape == (FRAMES, HEIGHT, WIDTH, 3)
    for begin, end, cube in events:
        expected = decode(lossless, "format=gbrp", f"lut3d={cubes / cube}:interp=trilinear")
        difference = np.abs(found[begin:end].astype(int) - expected[begin:end])
        assert difference.mean() < 0.9  # the planes are rounded to 8 bits
        assert np.percentile(difference, 99.9) <= 3
        assert np.abs(source[begin:end].astype(int) - expected[begin:end]).mean() > 2


def read_events(path: Path) -> list[tuple[int, int, str]]:
    """Return (first frame, frame after the last, .cube file) of each event of an EDL."""
    found = re.findall(
        r"^\d{3}  AX       V     C        (\S+) (\S+) \1 \2\n.*\n\* LUT: (.+)$",
        path.read_text(),
        re.MULTILINE,
    )
    return [(count_frames(begin), count_frames(end), cube) for begin, end, cube in found]


def count_frames(timecode: str) -> int:
    """Return the number of a frame at RATE frames in a second."""
    hours, minutes, seconds, frames = map(int, re.split("[:;]", timecode))
    return ((hours * 60 + minutes) * 60 + seconds) * RATE + frames


def test_look_and_strength(lossless: Path, tmp_path: Path) -> None:
    """One look for all frames, applied by half; the strength 0 keeps all frames as they are."""
    cubes = tmp_path / "cubes"
    assert invoke("video", lossless, "--cube", cubes).returncode == 0
    cube = (cubes / "scene-002.cube").read_text()
    token = re.search(r"look[: ]+(\S+)", cube, re.IGNORECASE)
    assert token
    output, half = tmp_path / "out.mkv", tmp_path / "half"
    enhance(lossless, output, "--look", token[1], "--strength", 0.5, "--cube", half)
    assert "# strength 0.5\n" in (half / "scene-001.cube").read_text()
    source = decode(lossless).astype(int)
    lut = f"lut3d={cubes}/scene-002.cube:interp=trilinear"
    whole = decode(lossless, "format=gbrp", lut).astype(int)
    assert np.abs(decode(output) - (source + whole) / 2).mean() < 1
    by_half = decode(lossless, "format=gbrp", f"lut3d={half}/scene-001.cube:interp=trilinear")
    assert np.abs(decode(output).astype(int) - by_half).mean() < 1
    assert np.abs(source - whole).mean() > 4
    enhance(lossless, output, "--strength", 0)
    np.testing.assert_array_equal(decode(output), source)


CODECS = [
    ("h264", "mp4", "yuv420p", ("--preset", "ultrafast", "--quality", 5)),
    ("h264", "mkv", "yuv420p10le", ("--preset", "ultrafast", "--quality", 5)),
    ("hevc", "mp4", "yuv420p10le", ("--preset", "ultrafast", "--quality", 5)),
    ("av1", "mp4", "yuv420p10le", ("--preset", 12, "--quality", 10)),
    ("av1", "webm", "yuv420p", ("--preset", 12, "--quality", 10)),
    ("prores", "mov", "yuv422p10le", ()),
    ("ffv1", "mkv", "yuv422p10le", ()),
]


@pytest.mark.parametrize(("codec", "suffix", "pixels", "arguments"), CODECS)
def test_codecs(
    codec: str,
    suffix: str,
    pixels: str,
    arguments: tuple[object, ...],
    shots: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    """Each codec keeps depth, colours and frames, in the containers that hold it."""
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    tags += ["-color_range", "tv"]
    source = write_clip(
        tmp_path / "in.mkv", shots[20:40], *TO_BT709, "-c:v", "ffv1", "-pix_fmt", pixels, *tags
    )
    output, lossless = tmp_path / f"out.{suffix}", tmp_path / "lossless.mkv"
    enhance(source, output, "--codec", codec, *arguments)
    enhance(source, lossless, "--codec", "ffv1")
    found = video_stream(output)
    assert found["codec_name"] == codec
    assert found["pix_fmt"] == pixels
    assert found["color_range"] == "tv"
    assert found["color_space"] == "bt709"
    assert found["color_transfer"] == "bt709"
    assert int(found["nb_read_packets"]) == 20
    assert np.abs(decode(output).astype(int) - decode(lossless)).mean() < 2.5


COLOURS = [
    ("bt709", "tv", "yuv420p"),
    ("smpte170m", "tv", "yuv420p"),
    ("smpte170m", "pc", "yuv444p"),
    ("bt2020nc", "tv", "yuv444p10le"),
    ("bt709", "pc", "yuv444p12le"),
]


@pytest.mark.parametrize(("matrix", "colour_range", "pixels"), COLOURS)
def test_colour_encodings(
    matrix: str, colour_range: str, pixels: str, shots: NDArray[np.uint8], tmp_path: Path
) -> None:
    """One look changes the colours of a video equally, however its planes encode them."""
    clip = shots[:3]
    name = {"bt2020nc": "bt2020"}.get(matrix, matrix)
    flags = "flags=accurate_rnd+full_chroma_int"
    scale = ("-vf", f"scale=out_color_matrix={name}:out_range={colour_range}:{flags}")
    tags = ("-colorspace", matrix, "-color_range", colour_range)
    source = write_clip(
        tmp_path / "in.mkv", clip, *scale, "-c:v", "ffv1", "-pix_fmt", pixels, *tags
    )
    output, cubes = tmp_path / "out.mkv", tmp_path / "cubes"
    enhance(source, output, "--model", "vivid", "--per-scene", "--cube", cubes)
    assert video_stream(output)["color_space"] == matrix
    assert video_stream(output)["color_range"] == colour_range
    back = f"scale=in_color_matrix={name}:in_range={colour_range}:{flags}+full_chroma_inp"
    lut = f"lut3d={cubes}/scene-001.cube:interp=trilinear"
    found = decode(output, back, "format=gbrp")
    expected = decode(source, back, "format=gbrp", lut)
    difference = np.abs(found.astype(int) - expected)
    assert difference.mean() < (2 if "420" in pixels else 0.9)
    assert np.abs(clip.astype(int) - expected).mean() > 2


@pytest.mark.parametrize(
    ("transfer", "name"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")], ids=["pq", "hlg"]
)
def test_hdr_is_rejected(
    transfer: str, name: str, shots: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The message names the file and the remedy."""
    tags = ("-color_trc", transfer, "-colorspace", "bt2020nc", "-color_primaries", "bt2020")
    source = write_clip(
        tmp_path / "hdr.mkv", shots[:3], "-c:v", "ffv1", "-pix_fmt", "yuv420p10le", *tags
    )
    message = reject(source, tmp_path / "out.mkv")
    assert f"hdr.mkv: its transfer function is HDR ({name}" in message
    assert "convert it to BT.709 first" in message


def test_dolby_vision_is_rejected(shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """Its pixels are in colours of its own, whatever the stream states."""
    source = write_clip(tmp_path / "dolby.mp4", shots[:3], "-c:v", "libx265", "-tag:v", "hvc1")
    source.write_bytes(source.read_bytes().replace(b"hvc1", b"dvh1"))
    assert "dolby.mp4: it is HDR (Dolby Vision" in reject(source, tmp_path / "out.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rates_are_kept(
    suffix: str, shots: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Each frame keeps its time."""
    uneven = ("-vf", "setpts='(N+0.4*sin(N))/25/TB+gte(N,20)*0.7/TB'", "-vsync", "vfr")
    source = write_clip(
        tmp_path / f"in.{suffix}", shots[:40], *uneven, *FAST, "-enc_time_base", "1/1000"
    )
    times = frame_times(source)
    assert np.diff(times).std() > 0.05
    output = tmp_path / f"out.{suffix}"
    enhance(source, output, "--preset", "ultrafast")
    assert frame_times(output) == pytest.approx(times, abs=0.0015)


def test_preview(rich: Path, lossless: Path, tmp_path: Path) -> None:
    """The original is shown at the left, the result at the right, also where players turn it."""
    output, full = tmp_path / "preview.mkv", tmp_path / "full.mkv"
    enhance(lossless, output, "--preview")
    enhance(lossless, full)
    found = decode(output)
    np.testing.assert_array_equal(found[:, :, :WIDTH], decode(lossless))
    np.testing.assert_array_equal(found[:, :, WIDTH:], decode(full))
    turned = tmp_path / "turned.mp4"
    enhance(rich, turned, "--preview", "--quality", 5)
    shown, source = decode(turned).astype(int), decode(rich)
    differences = [
        np.abs(half - source).mean() for half in (shown[:, :, :HEIGHT], shown[:, :, HEIGHT:])
    ]
    assert differences[0] < 2 < differences[1]


@pytest.mark.parametrize("flag", ["--per-scene", "--no-per-scene"])
def test_static_shots_do_not_flicker(flag: str, shots: NDArray[np.uint8], tmp_path: Path) -> None:
    """An object moves before a background that stays; its pixels stay, too."""
    clip = np.repeat(shots[:1], 50, axis=0)
    for index, frame in enumerate(clip):
        frame[60:120, 4 * index : 4 * index + 60] = shots[-1, 60:120, 100:160]
    source = write_clip(tmp_path / "in.mkv", clip, *TO_BT709, *LOSSLESS)
    output = tmp_path / "out.mkv"
    enhance(source, output, flag)
    background = np.s_[:, :50]  # rows that the object does not cover
    after = decode(output)[background].astype(int)
    steps = np.abs(np.diff(after, axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < (0.01 if flag == "--per-scene" else 0.3)


@pytest.mark.usefixtures("interruptible")
def test_interruption_leaves_no_file(lossless: Path, tmp_path: Path) -> None:
    """After SIGINT in the middle of writing, the folder of the output is as before."""
    written: list[int] = []

    def interrupt(stage: str, done: int, _: int) -> None:
        if stage == "enhance" and done == FRAMES // 2:
            written.extend(it.stat().st_size for it in tmp_path.rglob("*.mkv"))
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        enhance_video(
            lossless, tmp_path / "out.mkv", VideoOptions(), Settings.from_environment(), interrupt
        )
    assert len(written) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_command(lossless: Path, tmp_path: Path) -> None:
    """The program ends without a traceback and without a file."""
    endless = tmp_path / "endless.mkv"
    run_ffmpeg("-stream_loop", 400, "-i", lossless, "-c", "copy", endless)  # takes minutes
    folder = tmp_path / "output"
    folder.mkdir()
    ours, theirs = pty.openpty()  # the progress bar shows when the first pass runs
    command = [sys.executable, "-m", "app", "video", endless, "-o", folder / "out.mkv"]
    with subprocess.Popen(
        [*map(str, command)], stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        shown = b""
        while b"finding scenes" not in shown:
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        shown += read_to_end(ours)
    os.close(ours)
    assert process.returncode == 130
    assert b"Traceback" not in shown
    assert list(folder.iterdir()) == []


def read_to_end(terminal: int) -> bytes:
    """Read what is written to a terminal until its other side is closed."""
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while chunk := os.read(terminal, 65536):
            shown += chunk
    return shown


def test_progress(lossless: Path, tmp_path: Path) -> None:
    """On a terminal, both passes show frames, their speed and the time left."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "app", "video", lossless, "-o", tmp_path / "out.mkv"]
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen([*map(str, command)], stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = read_to_end(ours)
    os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    for stage in ("finding scenes", "enhancing"):
        assert re.search(rf"{stage}.*{FRAMES}/{FRAMES}.* fps.*\d:\d\d", text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", b"no video at all" * 100, "it is no video, or damaged"),
        ("empty.mkv", b"", "it is no video, or damaged"),
    ],
    ids=["text", "empty"],
)
def test_what_is_no_video(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    """One line names the file."""
    source = tmp_path / name
    source.write_bytes(content)
    assert f"{name}: {message}" in reject(source, tmp_path / "out.mkv")


def test_bad_requests(lossless: Path, rich: Path, tmp_path: Path) -> None:
    """Each has a message that names the fault, and writes nothing."""
    for output, arguments, message in (
        ("out.xyz", (), "no container has this suffix"),
        ("out.webm", ("--codec", "h264"), "choose another with --codec"),
        ("out.mkv", ("--quality", 99, "--codec", "h264"), "the quality of libx264 is 0..51"),
        ("out.mkv", ("--quality", 5), "ffv1 is lossless and takes no quality"),
        ("out.mov", ("--codec", "prores", "--preset", "fast"), "prores_ks has no presets"),
        ("out.mkv", ("--model", "unknown"), "unknown"),
        ("out.mkv", ("--look", "damaged"), "look"),
    ):
        assert message in reject(lossless, tmp_path / output, *arguments)
    audio = tmp_path / "audio.m4a"
    run_ffmpeg("-i", rich, "-map", "0:a", "-c", "copy", audio)
    assert "it has no video stream" in reject(audio, tmp_path / "out.mkv")
    before = rich.read_bytes()
    assert "OUT would overwrite IN" in reject(rich, rich)
    assert rich.read_bytes() == before
    assert "missing.mp4" in reject(tmp_path / "missing.mp4", tmp_path / "out.mkv")
    found = invoke("video", rich, "-o", tmp_path / "missing" / "out.mkv")
    assert found.stderr == f"clut-enhance: {tmp_path / 'missing'}: No such file or directory\n"


def test_damaged_files(rich: Path, tmp_path: Path) -> None:
    """A file whose end is missing is enhanced as far as it goes, or rejected: no crash."""
    source = tmp_path / "cut.mkv"
    run_ffmpeg("-i", rich, "-map", "0:v", "-c", "copy", source)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    found = invoke("video", source, "-o", tmp_path / "out.mkv", "--preset", "ultrafast")
    assert found.returncode == 0
    assert 20 < len(frame_times(tmp_path / "out.mkv")) < FRAMES


def test_help_names_every_option() -> None:
    """The options come from VideoOptions."""
    text = invoke("video", "--help").stdout
    for option in VideoOptions.model_fields:
        assert f"--{option.replace('_', '-')} " in text
