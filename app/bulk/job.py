"""A bulk job, and the result for each file, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from app.serving.options import EnhanceOptions

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
        reason: why it failed or was skipped, or what a video has lost.
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
            return cls(**fields | {"status": Status(fields["status"])})


@contextmanager
def _line_of(kind: str, line: str) -> Iterator[None]:
    """Raise ValueError with the line for whatever is wrong with it."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"this line is no {kind}: {line}") from error
