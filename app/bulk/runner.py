"""A bulk run: finds the files that earlier runs left, and records the result for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from app.bulk import manifest
from app.bulk.manifest import Job, Manifest, Result, Status
from app.bulk.storage import PARTIAL, Storage, open_storage, possible_output_names

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

    def __init__(self, job: Job, *, retry: bool = False) -> None:
        """List both folders; read the manifest, or begin one.

        Args:
            job: the job.
            retry: whether to try failed files again.

        Raises:
            ValueError: the target folder is not this job's, or a folder lies where it must not.
            OSError: a folder cannot be read or written.
        """
        source, target = open_storage(job.source), open_storage(job.target)
        if target.prefix_of(source) is not None:
            raise ValueError(f"{job.source} lies in {job.target}, where the results would go")
        own = source.prefix_of(target)
        self.names = [name for name in source.names() if own is None or not name.startswith(own)]
        if not self.names:
            raise ValueError(f"{job.source}: there are no files")
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
        """Delete what a killed run left of the files that it was writing, and nothing else."""
        for name in self.names:
            for output in possible_output_names(name):
                if output + PARTIAL in found:
                    target.remove(output + PARTIAL)


def _open_manifest(target: Storage, job: Job, found: set[str]) -> Manifest:
    """Read the manifest, or begin one in an empty folder.

    Raises:
        ValueError: the folder has files, but no manifest of this job.
        OSError: the manifest cannot be read.
    """
    if manifest.NAME in found:
        return Manifest.read(target, job)
    if found - {manifest.NAME + PARTIAL}:  # of a run that was killed as it began
        raise ValueError(
            f"{job.target} has files, but no {manifest.NAME} of a bulk run: choose another folder"
        )
    return Manifest(target, job)
