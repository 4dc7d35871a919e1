"""Every error that a client can cause or meet: one flat list, rendered in one place.

A `Problem` becomes a problem document (RFC 9457, "Problem Details for HTTP APIs"). Each layer
raises the one that fits; `app.web.problems` alone turns it into a response, and `app.cli` alone
into a line on the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class Problem(Exception):
    """A failure with a sentence for the client.

    Attributes:
        status: HTTP status code.
        code: stable machine-readable name, the last part of the problem's `type`.
        title: short human-readable summary, the same for every occurrence.
        detail: the fault in this occurrence.
        extra: further members of the problem document, such as accepted values.
    """

    status = 500
    code = "internal"
    title = "The server failed"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadParameter(Problem):
    status, code, title = 400, "bad-parameter", "A parameter is invalid"


class MalformedLook(Problem):
    status, code, title = 400, "malformed-look", "The look token is malformed"


class TruncatedLook(Problem):
    status, code, title = 400, "truncated-look", "The look token is truncated"


class CorruptedLook(Problem):
    status, code, title = 400, "corrupted-look", "The look token is damaged"


class BadRequestBody(Problem):
    status, code, title = 400, "bad-body", "The request body cannot be read"


class Unauthorised(Problem):
    status, code, title = 401, "unauthorised", "An API key is required"


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "The API key does not permit this"


class CrossSiteRequest(Problem):
    status, code, title = 403, "cross-site-request", "Pages of other sites may not send this"


class UnknownModel(Problem):
    status, code, title = 404, "unknown-model", "The model does not exist"


class UnknownLook(Problem):
    status, code, title = 404, "unknown-look", "The model of the look is not served"


class UploadTooSlow(Problem):
    status, code, title = 408, "upload-too-slow", "The request body did not arrive in time"


class MappedLook(Problem):
    status, code, title = 409, "mapped-look", "The look differs within the image"


class BodyTooLarge(Problem):
    status, code, title = 413, "body-too-large", "The request body is too large"


class NotAnImage(Problem):
    status, code, title = 415, "not-an-image", "The body is not a supported image"


class UnsupportedEncoding(Problem):
    status, code, title = 415, "unsupported-encoding", "The content encoding is not supported"


class MisdirectedRequest(Problem):
    status, code, title = 421, "misdirected-request", "The server does not serve this host"


class DamagedImage(Problem):
    status, code, title = 422, "damaged-image", "The image is damaged"


class TooManyPixels(Problem):
    status, code, title = 422, "too-many-pixels", "The image or its result is too large"


class ResultTooLarge(TooManyPixels):
    """The result would be too large, not the image; clients receive the code of TooManyPixels."""


class TooMuchMemory(Problem):
    status, code, title = 422, "too-much-memory", "The request needs too much memory"


class TooMuchMetadata(Problem):
    status, code, title = 422, "too-much-metadata", "The image has too much metadata"


class AnimatedImage(Problem):
    status, code, title = 422, "animated-image", "The image is animated"


class TooManyFrames(Problem):
    status, code, title = 422, "too-many-frames", "The animation is too long"


class QuotaExceeded(Problem):
    status, code, title = 429, "quota-exceeded", "The quota of the API key is used up"


class BadModel(Problem):
    status, code, title = 500, "bad-model", "A model cannot be read"


class TrainingDiverged(Problem):
    status, code, title = 500, "training-diverged", "Training diverged"


class Overloaded(Problem):
    status, code, title = 503, "overloaded", "The server is at capacity"


class Draining(Problem):
    status, code, title = 503, "draining", "The server is shutting down"


class DeadlineExceeded(Problem):
    status, code, title = 504, "deadline-exceeded", "The response was not ready in time"


class BadLutFile(ValueError):
    """A LUT file cannot be read: no Problem, since no request holds one."""


class BadVideo(ValueError):
    """A video cannot be read or written: no Problem, since no request holds one."""


PROBLEMS: tuple[type[Problem], ...] = (
    Problem,
    BadParameter,
    MalformedLook,
    TruncatedLook,
    CorruptedLook,
    BadRequestBody,
    Unauthorised,
    Forbidden,
    CrossSiteRequest,
    UnknownModel,
    UnknownLook,
    UploadTooSlow,
    MappedLook,
    BodyTooLarge,
    NotAnImage,
    UnsupportedEncoding,
    MisdirectedRequest,
    DamagedImage,
    TooManyPixels,
    TooMuchMemory,
    TooMuchMetadata,
    AnimatedImage,
    TooManyFrames,
    QuotaExceeded,
    BadModel,
    TrainingDiverged,
    Overloaded,
    Draining,
    DeadlineExceeded,
)


def describe_first(error: ValidationError) -> str:
    """Return the first of the errors as FIELD: MESSAGE."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
