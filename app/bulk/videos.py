"""Videos among the files of a bulk run; they need the extra `video`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from app.errors import BadVideo
from app.serving.options import EnhanceOptions
from app.settings import Settings

# Of containers that are read and written. Not .ts, which is more often the suffix of source code.
SUFFIXES = {
    ".3gp", ".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm",
}  # fmt: skip


def is_video(name: str) -> bool:
    """Return whether a file is a video, by its suffix, which sets the container of the result."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def enhance_video_file(
    source: Path, target: Path, options: EnhanceOptions, settings: Settings
) -> list[str]:
    """Enhance a video; of the options, the model, the strength and the look apply.

    Args:
        source: the video.
        target: the video to write.
        options: of the job.
        settings: name the store, the device and the batches.

    Returns:
        The streams that the container does not hold, in words.

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
