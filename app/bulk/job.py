"""What is to be made of a folder's photographs."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from app.serving.options import EnhanceOptions


class Job(BaseModel):
    """From where to where, and how; the first line of the manifest.

    Attributes:
        source: path or URI of a folder.
        target: likewise.
        options: of every image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    options: EnhanceOptions = EnhanceOptions()


class Status(StrEnum):
    """How it ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # it is no image


class Result(BaseModel):
    """A line of the manifest.

    Attributes:
        source: the file's name in the source folder.
        status: how it ended.
        target: the answer's name in the other folder, where it is done.
        reason: why, where it is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    status: Status
    target: str | None = None
    reason: str | None = None
