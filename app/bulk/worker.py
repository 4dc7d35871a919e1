"""A worker of a bulk run: the service for files instead of requests.

Videos among the files need the extra `video`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from app.bulk.run import Job, Result, Status
from app.bulk.storage import open_storage, output_name
from app.errors import BadParameter, BadVideo, BodyTooLarge, NotAnImage, Problem
from app.main import create_service, tune_process
from app.serving.options import EnhanceOptions
from app.serving.service import enhance_file
from app.settings import Settings

log = logging.getLogger("clut")

BATCH_SIZE = 4  # files of one thread: while one is computed, others are read, predicted or written

Work = Callable[[Sequence[str]], list[Result]]  # enhances files by their names
CreateWork = Callable[[Job], Work]  # runs in the process that does the work

# Of containers that are read and written. Not .ts, which is more often the suffix of source code.
_VIDEO_SUFFIXES = {
    ".3gp", ".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm",
}  # fmt: skip


class Worker:
    """Enhances files on one thread of the process that creates it, until that process ends."""

    def __init__(self, job: Job) -> None:
        """Start the service.

        Raises:
            Problem, ValueError: of the settings or the model store; see `create_service`.
        """
        self._job = job
        self._source, self._target = open_storage(job.source), open_storage(job.target)
        tune_process()
        self._settings = settings = Settings.from_environment().without_deadline()
        self._permits = asyncio.Semaphore(settings.admission.max_requests)
        self._one_video = asyncio.Semaphore()  # it has threads of its own
        self._max_bytes = settings.upload.max_bytes
        self._loop = asyncio.Runner()
        self._service = create_service(settings, threads=1)
        self._loop.run(self._service.__aenter__())

    def __call__(self, names: Sequence[str]) -> list[Result]:
        """Enhance files concurrently; return the result for each."""
        return self._loop.run(self._enhance_all(names))

    async def _enhance_all(self, names: Sequence[str]) -> list[Result]:
        return list(await asyncio.gather(*map(self._enhance, names)))

    async def _enhance(self, name: str) -> Result:
        try:
            if _is_video(name):
                # Two threads that compile their first loops at once can fail inside Numba.
                await self._service.models.wait_until_warm()
                async with self._one_video:
                    return await asyncio.to_thread(self._enhance_video, name)
            body = await asyncio.to_thread(self._read, name)
            async with self._permits:
                enhanced = await enhance_file(self._service, body, self._job.options)
            target = output_name(name, enhanced.format)
            await asyncio.to_thread(self._write, name, target, enhanced.body)
        except NotAnImage as problem:
            return Result(name, Status.SKIPPED, reason=_reason(problem))
        except (Problem, OSError, BadVideo) as error:
            return Result(name, Status.FAILED, reason=_reason(error))
        except Exception as error:  # a defect must not cost the files that are left
            log.exception("%s", ascii(name))
            return Result(name, Status.FAILED, reason=f"{type(error).__name__}: {error}")
        return Result(name, Status.DONE, target=target)

    def _enhance_video(self, name: str) -> Result:
        self._source.size(name)  # raises unless it is a regular file
        with TemporaryDirectory() as folder:
            path = self._source.fetch(name, Path(folder))
            made = Path(folder, f"enhanced{path.suffix}")
            notes = _enhance_video_file(path, made, self._job.options, self._settings)
            self._target.upload(name, made)
        return Result(name, Status.DONE, target=name, reason="; ".join(notes) or None)

    def _read(self, name: str) -> bytes:
        if self._source.size(name) > self._max_bytes:
            raise BodyTooLarge(f"It is larger than {self._max_bytes} bytes.")
        return self._source.read(name, self._max_bytes)  # it may grow meanwhile

    def _write(self, name: str, target: str, body: bytes) -> None:
        if target != name and self._source.exists(target):
            raise BadParameter(f"{target} is the name of the result for another image.")
        self._target.write(target, body)


def _is_video(name: str) -> bool:
    """Return whether a file is a video, by its suffix, which sets the container of the result."""
    return PurePosixPath(name).suffix.lower() in _VIDEO_SUFFIXES


def _enhance_video_file(
    source: Path, target: Path, options: EnhanceOptions, settings: Settings
) -> list[str]:
    """Enhance a video; of the options, the model, the strength and the look apply.

    Args:
        source: the video.
        target: the video to write.
        options: of the job.
        settings: name the store, the device and the batches.

    Returns:
        The parts of the video that are lost, in sentences.

    Raises:
        BadVideo: the video is not supported, or the extra is missing.
        Problem: the model or the look cannot be used.
        OSError: a file cannot be read or written.
    """
    try:
        from app.video.enhance import enhance_video  # here: an extra
        from app.video.options import VideoOptions
    except ModuleNotFoundError as error:
        raise BadVideo("needs clut-enhance[video]") from error
    chosen = VideoOptions(model=options.model, strength=options.strength, look=options.look)
    try:
        return enhance_video(source, target, chosen, settings)
    except BadVideo as error:
        raise BadVideo(str(error).removeprefix(f"{source}: ")) from error


def _reason(error: Problem | OSError | BadVideo) -> str:
    return f"{error.title}: {error.detail}" if isinstance(error, Problem) else str(error)
