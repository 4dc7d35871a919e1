"""The manifest of a bulk run: a file in the target folder, JSON Lines.

The first line is the job, each other one the result for a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from time import monotonic
from typing import Self

from app.bulk.storage import Storage
from app.serving.options import EnhanceOptions

NAME = "manifest.jsonl"
INTERVAL = 5.0  # seconds, at least, from one write to the next
WRITE_SHARE = 20  # writing takes at most one part in this many of the time

# Both are plain dataclasses, since pydantic writes no JSON of names that are not UTF-8. The json
# module writes ASCII: no name can break a line or the encoding of the manifest.


@dataclass(frozen=True)
class Job:
    """A folder to enhance.

    Attributes:
        source: path or URI of the folder of images.
        target: path or URI of the folder of enhanced images.
        options: the options for every image.
    """

    source: str
    target: str
    options: EnhanceOptions

    def to_json(self) -> str:
        """Return the job as one line."""
        options = self.options.model_dump(mode="json")
        return json.dumps({"source": self.source, "target": self.target, "options": options})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line of `to_json`; raise ValueError if it is none."""
        with _line_of("job", line):
            fields = json.loads(line)
            return cls(**fields | {"options": EnhanceOptions.model_validate(fields["options"])})


class Status(StrEnum):
    """How the work on a file ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # the file is neither an image nor a video


@dataclass(frozen=True)
class Result:
    """The result for a file.

    Attributes:
        source: the file's name in the source folder.
        status: how the work on it ended.
        target: the enhanced image's name in the target folder, if done.
        reason: why it failed or was skipped, or what a video has lost.
    """

    source: str
    status: Status
    target: str | None = None
    reason: str | None = None

    def to_json(self) -> str:
        """Return the result as one line, without empty fields."""
        return json.dumps({name: it for name, it in asdict(self).items() if it is not None})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line of `to_json`; raise ValueError if it is none."""
        with _line_of("result", line):
            fields = json.loads(line)
            return cls(**fields | {"status": Status(fields["status"])})


class Manifest:
    """The results so far, by source.

    The file is written as a whole, periodically and at the end, because a bucket cannot append.
    Results that a killed run did not write are recovered from the target folder: see `Runner`.
    """

    def __init__(self, folder: Storage, job: Job) -> None:
        self._folder = folder
        self._job = job
        self._results: dict[str, Result] = {}
        self._next_write = 0.0

    @classmethod
    def read(cls, folder: Storage, job: Job) -> Self:
        """Read the manifest of an earlier run.

        Raises:
            ValueError: it belongs to another job, or is damaged.
            OSError: it cannot be read.
        """
        # Not splitlines(), which also splits at characters that names may contain, such as U+2028.
        first, *lines = folder.read(NAME).decode(errors="replace").rstrip("\n").split("\n")
        try:
            found, results = Job.from_json(first), [Result.from_json(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"{folder.uri}/{NAME} is damaged: {error}") from error
        if found != job:
            raise ValueError(
                f"{folder.uri} has the results of another job, according to its {NAME}: {first}. "
                "Choose another folder, or the same options."
            )
        manifest = cls(folder, job)
        for result in results:
            manifest.add(result)
        return manifest

    def __contains__(self, source: str) -> bool:
        return source in self._results

    def add(self, result: Result) -> None:
        """Add a result, in memory."""
        self._results[result.source] = result

    def count(self, status: Status) -> int:
        """Return the number of results with a status."""
        return sum(result.status is status for result in self._results.values())

    def forget(self, status: Status) -> None:
        """Drop the results with a status, so that their files are tried again."""
        kept = {name: it for name, it in self._results.items() if it.status is not status}
        self._results = kept

    def save(self) -> None:
        """Write the manifest; raise OSError."""
        begin = monotonic()
        lines = [self._job.to_json(), *(it.to_json() for it in self._results.values()), ""]
        self._folder.write(NAME, "\n".join(lines).encode())
        self._next_write = monotonic() + max(INTERVAL, WRITE_SHARE * (monotonic() - begin))

    def save_periodically(self) -> None:
        """Write the manifest if the last write was long enough ago; raise OSError."""
        if monotonic() > self._next_write:
            self.save()


@contextmanager
def _line_of(kind: str, line: str) -> Iterator[None]:
    """Raise ValueError with the line for whatever is wrong with it."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"this line is no {kind}: {line}") from error
