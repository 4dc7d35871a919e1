"""One .cube file per scene with an edit decision list, for editing programs such as Resolve.

The list is a CMX 3600 EDL, whose events are the scenes: frames are counted in the time code of the
video, and a comment names the .cube file of each event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

from app.luts.export import LutOptions, encode_lut
from app.luts.formats.base import LutMetadata
from app.video.network import LookNetwork
from app.video.scenes import LookTrack
from app.video.source import Source

MAX_EVENTS = 999  # that the format numbers
_TIMECODE = re.compile(r"(\d{2}):(\d{2}):(\d{2})([:;.])(\d{2})")


@dataclass(frozen=True)
class Timecode:
    """Names frames as HH:MM:SS:FF, counted at a whole number of frames in a second.

    Attributes:
        base: frames in a second, rounded.
        drop: whether two names are left out each minute, except for each tenth, so that names
            follow the clock at 29.97 frames in a second (SMPTE ST 12-1).
        first: the number of the first frame.
    """

    base: int
    drop: bool
    first: int

    @classmethod
    def parse(cls, rate: Fraction, text: str | None) -> Self:
        """Return the time code of a video.

        Args:
            rate: frames in a second.
            text: the time code of the first frame; None or text of another form is 0.
        """
        base = round(rate)
        match = _TIMECODE.fullmatch(text or "")
        if match is None:
            return cls(base, drop=False, first=0)
        hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
        drop = match[4] == ";" and base % 30 == 0
        total = minutes + 60 * hours
        first = (60 * total + seconds) * base + frames
        if drop:
            first -= base // 15 * (total - total // 10)
        return cls(base, drop, first)

    def format(self, frame: int) -> str:
        """Return the time code of a frame of the video."""
        frame += self.first
        if self.drop:
            dropped = self.base // 15
            minute = 60 * self.base - dropped
            tens, rest = divmod(frame, 10 * minute + dropped)
            frame += 9 * dropped * tens + dropped * max(0, (rest - dropped) // minute)
        seconds, frames = divmod(frame, self.base)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        separator = ";" if self.drop else ":"
        return f"{hours % 24:02}:{minutes:02}:{seconds:02}{separator}{frames:02}"


def write_cut_list(
    folder: Path, path: Path, track: LookTrack, network: LookNetwork, strength: float
) -> None:
    """Write scene-NNN.cube for each scene, and scenes.edl.

    Args:
        folder: is created where it is missing.
        path: the video.
        track: the scenes and their looks; of a scene whose look changes, the mean is written.
        network: that predicted the looks.
        strength: of the looks in the files.

    Raises:
        OSError: a file cannot be written.
        ValueError: there are more scenes than an EDL can number.
    """
    if len(track.scenes) > MAX_EVENTS:
        raise ValueError(f"an EDL has at most {MAX_EVENTS} events; there are {len(track.scenes)}")
    timecode = _read_timecode(path)
    folder.mkdir(parents=True, exist_ok=True)
    printable = "".join(it if it.isprintable() else "?" for it in path.name)
    lines = [f"TITLE: {printable}"]
    lines += [f"FCM: {'DROP FRAME' if timecode.drop else 'NON-DROP FRAME'}", ""]
    for index, scene in enumerate(track.scenes):
        number = f"{index + 1:03}"
        cube = f"scene-{number}.cube"
        token = network.token(scene.mean_code)
        metadata = LutMetadata(f"{printable} scene {number}", network.model_ref, token)
        whole = network.decode(scene.mean_code)
        lut = encode_lut(whole, LutOptions(strength=strength), metadata)
        (folder / cube).write_bytes(lut.body)
        begin, end = timecode.format(scene.start), timecode.format(scene.stop)
        lines += [
            f"{number}  AX       V     C        {begin} {end} {begin} {end}",
            f"* FROM CLIP NAME: {printable}",
            f"* LUT: {cube}",
            "",
        ]
    (folder / "scenes.edl").write_text("\n".join(lines), encoding="utf-8")


def _read_timecode(path: Path) -> Timecode:
    with Source(path) as source:
        own = source.video.metadata.get("timecode")
        return Timecode.parse(source.rate, own or source.container.metadata.get("timecode"))
