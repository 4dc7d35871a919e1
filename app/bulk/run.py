"""A bulk run: its job, the files that earlier runs left, and the manifest of the results.

The manifest is a file in the target folder, JSON Lines. The first line is the job, each other one
the result for a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from time import monotonic
from typing import Self

from app.bulk.storage import (
    PARTIAL,
    Storage,
    open_storage,
    partial_name,
    possible_output_names,
)
from app.serving.options import EnhanceOptions

NAME = "manifest.jsonl"
INTERVAL = 5.0  # seconds, at least, from one write to the next
MAX_QUOTED = 200  # characters of a damaged line
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
        reason: why it failed or was skipped, or the parts that a video has lost.
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
            if not all(isinstance(it, str) for it in fields.values()):
                raise ValueError("a field is no text")
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


Executor = Callable[[Job, Sequence[str]], Iterator[Result]]


class Runner:
    """The files of a job: which are done, and which are left.

    An enhanced image gets its name when it is complete. A file with that name is therefore done,
    even if a killed run could not record it in the manifest: nothing is done twice or lost.

    Attributes:
        names: the files of the source folder.
        left: those of them that have no result yet.
        manifest: the results.
    """

    def __init__(self, job: Job, names: list[str], target: Storage, *, retry: bool) -> None:
        """Read the manifest, or begin one; see `open_run`."""
        self.names = names
        self._job = job
        found = set(target.names())
        self.manifest = _open_manifest(target, job, found)
        if retry:
            self.manifest.forget(Status.FAILED)
        self._mark_done(found)
        self.left = [name for name in self.names if name not in self.manifest]
        self._remove_partial_files(target, found)
        self.manifest.save()

    def execute(self, executor: Executor) -> Iterator[Result]:
        """Yield the result for each file that is left; the run may be stopped at any time."""
        try:
            for result in executor(self._job, self.left):
                self.manifest.add(result)
                self.manifest.save_periodically()
                yield result
        finally:
            self.manifest.save()

    def _mark_done(self, found: set[str]) -> None:
        """Record files as done whose enhanced image is in the target folder."""
        sources = set(self.names)
        for name in self.names:
            own, *others = possible_output_names(name)
            outputs = found.intersection([own, *(it for it in others if it not in sources)])
            if outputs and name not in self.manifest:
                self.manifest.add(Result(name, Status.DONE, target=outputs.pop()))

    def _remove_partial_files(self, target: Storage, found: set[str]) -> None:
        """Delete the incomplete files that a killed run was writing, and nothing else."""
        if not any(name.endswith(PARTIAL) for name in found):
            return
        for name in self.names:
            for partial in map(partial_name, possible_output_names(name)):
                if partial in found:
                    target.remove(partial)


@contextmanager
def open_run(job: Job, *, retry: bool = False) -> Iterator[Runner]:
    """List both folders of a job, and lock the target folder for as long as the context lasts.

    Args:
        job: the job.
        retry: whether to try failed files again.

    Raises:
        ValueError: the target folder is not this job's, another run is at work on it, or a folder
            lies where it must not.
        OSError: a folder cannot be read or written.
    """
    source, target = open_storage(job.source), open_storage(job.target)
    if target.prefix_of(source) is not None:
        raise ValueError(f"{job.source} lies in {job.target}, where the results would go")
    own = source.prefix_of(target)
    names = [name for name in source.names() if own is None or not name.startswith(own)]
    if not names:
        raise ValueError(f"{job.source}: there are no files")
    with target.locked():
        yield Runner(job, names, target, retry=retry)


def _open_manifest(target: Storage, job: Job, found: set[str]) -> Manifest:
    """Read the manifest, or begin one in an empty folder.

    Raises:
        ValueError: the folder has files, but no manifest of this job.
        OSError: the manifest cannot be read.
    """
    if NAME in found:
        return Manifest.read(target, job)
    if found - {partial_name(NAME)}:  # of a run that was killed as it began
        raise ValueError(
            f"{job.target} has files, but no {NAME} of a bulk run: choose another folder"
        )
    return Manifest(target, job)


@contextmanager
def _line_of(kind: str, line: str) -> Iterator[None]:
    """Raise ValueError with the line for whatever is wrong with it."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"this line is no {kind}: {line[:MAX_QUOTED]}") from error
