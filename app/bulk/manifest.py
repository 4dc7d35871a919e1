"""What became of each photograph: a file in the target folder, JSON Lines, the job first."""

from __future__ import annotations

from time import monotonic
from typing import Self

from app.bulk.job import Job, Result, Status
from app.bulk.storage import Storage

NAME = "manifest.jsonl"
OFTEN = 5.0  # seconds, at least, between one writing and the next
SHARE = 20  # nor does writing take more than this part of the time


class Manifest:
    """The outcomes so far, by source.

    It is written whole, now and then and in the end, because a bucket cannot append. What a killed
    run did since then is seen by its answers: see `Run`.
    """

    def __init__(self, folder: Storage, job: Job) -> None:
        self._folder = folder
        self._job = job
        self._outcomes: dict[str, Result] = {}
        self._next = 0.0

    @classmethod
    def read(cls, folder: Storage, job: Job) -> Self:
        """The manifest of a run of before.

        Raises:
            ValueError: it is of another job, or damaged.
            OSError: it cannot be read.
        """
        manifest = cls(folder, job)
        first, *lines = folder.read(NAME).decode().splitlines()
        if Job.model_validate_json(first) != job:
            raise ValueError(
                f"{folder.uri} has the answers of another job, by its {NAME}: {first}. "
                "Choose another folder, or the same options."
            )
        for line in lines:
            manifest.add(Result.model_validate_json(line))
        return manifest

    def __contains__(self, source: str) -> bool:
        return source in self._outcomes

    def add(self, outcome: Result) -> None:
        """Notes an outcome, in memory."""
        self._outcomes[outcome.source] = outcome

    def count(self, status: Status) -> int:
        """How many ended so."""
        return sum(outcome.status is status for outcome in self._outcomes.values())

    def forget(self, status: Status) -> None:
        """Drops those that ended so: they are to be tried again."""
        kept = {name: it for name, it in self._outcomes.items() if it.status is not status}
        self._outcomes = kept

    def save(self) -> None:
        """Writes all; raises OSError."""
        begun = monotonic()
        lines = [it.model_dump_json(exclude_none=True) for it in self._outcomes.values()]
        text = "\n".join([self._job.model_dump_json(), *lines, ""])
        self._folder.write(NAME, text.encode())
        self._next = monotonic() + max(OFTEN, SHARE * (monotonic() - begun))

    def save_periodically(self) -> None:
        """Writes all, where that was not done of late; raises OSError."""
        if monotonic() > self._next:
            self.save()
