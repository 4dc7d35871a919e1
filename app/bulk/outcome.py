"""What became of a photograph."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Status(StrEnum):
    """How it ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # it is no image


class Outcome(BaseModel):
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
