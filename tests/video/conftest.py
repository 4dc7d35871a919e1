"""Clips of three shots, and signals as a terminal sends them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.videos import FAST, SHOTS, make_shot, run_ffmpeg, write_clip

CHAPTERS = """;FFMETADATA1
title=Three shots
com.example.key=own

[CHAPTER]
TIMEBASE=1/1000
START=0
END=1200
title=The lake

[CHAPTER]
TIMEBASE=1/1000
START=1200
END=3000
title=Otters and sunset
"""
SUBTITLES = "1\n00:00:00,200 --> 00:00:01,000\nHello\n\n2\n00:00:01,500 --> 00:00:02,500\nWorld\n"


@pytest.fixture(scope="package")
def shots() -> NDArray[np.uint8]:
    """Pan over three photographs one after the other."""
    return np.concatenate([make_shot(photo, frames) for photo, frames in SHOTS])


@pytest.fixture(scope="package")
def rich(tmp_path_factory: pytest.TempPathFactory, shots: NDArray[np.uint8]) -> Path:
    """Encode the shots as MP4 with audio, subtitles, chapters, metadata and rotation."""
    folder = tmp_path_factory.mktemp("rich")
    (folder / "chapters.txt").write_text(CHAPTERS)
    (folder / "subtitles.srt").write_text(SUBTITLES)
    plain = write_clip(folder / "plain.mp4", shots, *FAST)
    path = folder / "rich.mp4"
    inputs = ["-i", plain, "-f", "lavfi", "-i", "sine=440:duration=3", "-i"]
    inputs += [folder / "subtitles.srt", "-i", folder / "chapters.txt"]
    options = (
        "-map 0:v -map 1 -map 2 -map_metadata 3 -map_chapters 3 -c:v copy -c:a aac -c:s mov_text"
    )
    options += " -metadata:s:a language=deu -metadata:s:v rotate=90 -movflags use_metadata_tags"
    run_ffmpeg(*inputs, *options.split(), path)
    return path


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Receive SIGINT as in a terminal; processes of pytest-xdist ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
