"""Finished work of an interrupted run: the analysis and parts, in a folder beside the output."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import ExitStack
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from app.errors import BadVideo
from app.video.analysis import Analysis
from app.video.network import LookNetwork
from app.video.options import VideoOptions


class Checkpoint:
    """The folder of a run; a context manager that locks it."""

    def __init__(
        self, source: Path, target: Path, options: VideoOptions, network: LookNetwork
    ) -> None:
        """Describe the run.

        Args:
            source: the video; it is read to its end, to recognise it.
            target: the output; the folder has its name and the suffix `.parts`.
            options: of the looks and the encoder.
            network: predicts looks.
        """
        self.folder = target.with_name(f"{target.name}.parts")
        with source.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        self._run = {
            "source": digest,
            "model": [network.model_ref, network.fingerprint.hex()],
            "options": options.model_dump(mode="json", exclude={"resume", "model"}),
            "programs": {name: version(name) for name in ("clut-enhance", "av")},
        }
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Create the folder, or go on with one of the same run.

        Raises:
            BadVideo: it is that of another run, or a run that goes on.
            OSError: it cannot be written.
        """
        manifest = self.folder / "run.json"
        if self.folder.exists() and not manifest.exists() and any(self.folder.iterdir()):
            raise BadVideo(f"{self.folder}: the folder is none of this command; remove it")
        self.folder.mkdir(exist_ok=True)
        with self._resources as resources:
            file = resources.enter_context(manifest.open("a+", encoding="utf-8"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadVideo(f"{self.folder}: another process works on it") from error
            file.seek(0)
            text = file.read()
            if text:
                self._compare(text)
            else:
                file.write(json.dumps(self._run, indent=2))
                file.flush()
            self._resources = resources.pop_all()
        return self

    def _compare(self, text: str) -> None:
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            found = {}
        different = [key for key, value in self._run.items() if found.get(key) != value]
        if different:
            raise BadVideo(
                f"{self.folder}: it has parts of another run ({' and '.join(different)} differ). "
                "Remove it to begin anew, or repeat that run to resume it"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.close()

    def remove(self) -> None:
        """Delete the folder: the output is written."""
        shutil.rmtree(self.folder)

    def load_analysis(self) -> Analysis | None:
        """Return the result of the first pass; None if that was interrupted."""
        try:
            with np.load(self.folder / "analysis.npz") as arrays:
                return Analysis(**arrays)
        except FileNotFoundError:
            return None

    def save_analysis(self, analysis: Analysis) -> None:
        """Keep the result of the first pass."""
        unfinished = self.folder / "analysis.tmp"
        with unfinished.open("wb") as file:
            np.savez(file, **vars(analysis))
        complete(unfinished, self.folder / "analysis.npz")

    def part(self, first: int) -> Path:
        """Return the path of the part that begins with a frame; it exists once it is finished."""
        return self.folder / f"part-{first:08}.mkv"


def complete(unfinished: Path, path: Path) -> None:
    """Give a file its name, once it is on the disk."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
