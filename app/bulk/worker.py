"""The enhancer, for files instead of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from app.bulk.filenames import output_name
from app.bulk.job import Job, Result, Status
from app.bulk.storage import Storage
from app.errors import BadParameter, BodyTooLarge, NotAnImage, Problem
from app.main import create_service
from app.serving.files import enhance_file
from app.serving.tuning import tune_process
from app.settings import Settings

BATCH_SIZE = 4  # files of one thread: while one is computed, others are read, predicted or written


class Worker:
    """Treats a folder's files on one thread of the process that makes it; it ends with that."""

    def __init__(self, job: Job, check: Callable[[], object] = bool) -> None:
        """Starts the enhancer.

        Args:
            job: what to do.
            check: called before anything is written; may end the process.

        Raises:
            Problem, ValueError: the settings, or the model store; see `create_service`.
        """
        self._job = job
        self._source, self._target = Storage(job.source), Storage(job.target)
        self._check = check
        tune_process()
        settings = Settings.from_environment().without_deadline()
        self._permits = asyncio.Semaphore(settings.admission.max_requests)
        self._most_bytes = settings.upload.max_bytes
        self._loop = asyncio.Runner()
        self._service = create_service(settings, threads=1)
        self._loop.run(self._service.__aenter__())

    def __call__(self, names: Sequence[str]) -> list[Result]:
        """Treats a few files at once."""
        return self._loop.run(self._all(names))

    async def _all(self, names: Sequence[str]) -> list[Result]:
        return list(await asyncio.gather(*map(self._one, names)))

    async def _one(self, name: str) -> Result:
        try:
            target = await self._written(name)
        except NotAnImage as problem:
            return Result(source=name, status=Status.SKIPPED, reason=_reason(problem))
        except (Problem, OSError) as error:
            return Result(source=name, status=Status.FAILED, reason=_reason(error))
        return Result(source=name, status=Status.DONE, target=target)

    async def _written(self, name: str) -> str:
        body = await asyncio.to_thread(self._read, name)
        async with self._permits:
            enhanced = await enhance_file(self._service, body, self._job.options)
        target = output_name(name, enhanced.format)
        await asyncio.to_thread(self._write, name, target, enhanced.body)
        return target

    def _read(self, name: str) -> bytes:
        if self._source.size(name) > self._most_bytes:
            raise BodyTooLarge(f"It is larger than {self._most_bytes} bytes.")
        return self._source.read(name)

    def _write(self, name: str, target: str, body: bytes) -> None:
        if target != name and self._source.exists(target):
            raise BadParameter(f"{target} is the name of another photograph's answer.")
        self._check()
        self._target.write(target, body)


def _reason(error: Problem | OSError) -> str:
    return f"{error.title}: {error.detail}" if isinstance(error, Problem) else str(error)
