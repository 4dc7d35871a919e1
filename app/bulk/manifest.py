"""The manifest of a bulk run: a file in the target folder, JSON Lines, the job first."""

from __future__ import annotations

from time import monotonic
from typing import Self

from app.bulk.job import Job, Result, Status
from app.bulk.storage import Storage

NAME = "manifest.jsonl"
INTERVAL = 5.0  # seconds, at least, from one write to the next
WRITE_SHARE = 20  # writing takes at most one part in this many of the time


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
