"""A folder's photographs, from where an earlier run was interrupted to the last of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from app.bulk import manifest
from app.bulk.filenames import possible_output_names
from app.bulk.job import Job, Result, Status
from app.bulk.manifest import Manifest
from app.bulk.storage import PARTIAL, Storage

Executor = Callable[[Job, Sequence[str]], Iterator[Result]]


class Runner:
    """What is done already, and what is left to do.

    An answer gets its name when it is complete, so one that is there is done, whether a killed
    run still came to say so in the manifest or not: nothing is done twice, and nothing is lost.

    Attributes:
        names: the files of the source folder.
        left: those of them that have no outcome yet.
        manifest: the outcomes.
    """

    def __init__(self, job: Job, *, retry: bool = False) -> None:
        """Looks into both folders, and begins a manifest where there is none.

        Args:
            job: what to do.
            retry: whether to try again what failed before.

        Raises:
            ValueError: the folders do not go together, or with this job.
            OSError: a folder cannot be read or written.
        """
        source, target = Storage(job.source), Storage(job.target)
        if source in target:
            raise ValueError(f"{job.source} lies in {job.target}, where its answers would go")
        own = source.within(target) if target in source else None
        self.names = [name for name in source.names() if own is None or not name.startswith(own)]
        if not self.names:
            raise ValueError(f"{job.source}: there are no files")
        self._job = job
        answers = _remove_partial_files(target)
        self.manifest = _open_manifest(target, job, answers)
        if retry:
            self.manifest.forget(Status.FAILED)
        self._mark_done(answers)
        self.manifest.save()
        self.left = [name for name in self.names if name not in self.manifest]

    def execute(self, engine: Executor) -> Iterator[Result]:
        """Does what is left, and says what became of each; stop whenever you like."""
        try:
            for outcome in engine(self._job, self.left):
                self.manifest.add(outcome)
                self.manifest.save_periodically()
                yield outcome
        finally:
            self.manifest.save()

    def _mark_done(self, answers: set[str]) -> None:
        """Notes as done what has its answer."""
        sources = set(self.names)
        for name in self.names:
            own, *others = possible_output_names(name)
            found = answers.intersection([own, *(it for it in others if it not in sources)])
            if found and name not in self.manifest:
                self.manifest.add(Result(source=name, status=Status.DONE, target=found.pop()))


def _remove_partial_files(target: Storage) -> set[str]:
    """The target folder's files, after what was left in pieces is deleted."""
    names = set(target.names())
    pieces = {name for name in names if name.endswith(PARTIAL)}
    for name in pieces:
        target.remove(name)
    return names - pieces


def _open_manifest(target: Storage, job: Job, answers: set[str]) -> Manifest:
    if manifest.NAME in answers:
        return Manifest.read(target, job)
    if answers:
        raise ValueError(
            f"{job.target} has files, but no {manifest.NAME} that says whose: choose another folder"
        )
    return Manifest(target, job)
