"""Everything that can go wrong for a caller: one flat list, rendered in one place.

A `Problem` is what the outside world is told (RFC 9457, "Problem Details for HTTP APIs"). Each
layer raises the one that fits; only `app.web.problems` turns it into a response and only
`app.cli` into a line on the terminal.
"""

from __future__ import annotations


class Problem(Exception):
    """A failure with a sentence for the caller.

    Attributes:
        status: HTTP status code.
        code: stable machine-readable name, the last part of the problem's `type`.
        title: short human-readable summary, the same for every occurrence.
        detail: what was wrong this time.
        extra: further members of the problem document, e.g. what is accepted.
    """

    status = 500
    code = "internal"
    title = "The server failed"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadParameter(Problem):
    status, code, title = 400, "bad-parameter", "A parameter is not understood"


class MalformedLook(Problem):
    status, code, title = 400, "malformed-look", "The look token is not one of ours"


class TruncatedLook(Problem):
    status, code, title = 400, "truncated-look", "The look token is cut short"


class CorruptedLook(Problem):
    status, code, title = 400, "corrupted-look", "The look token is damaged"


class BadRequestBody(Problem):
    status, code, title = 400, "bad-body", "The request body cannot be read"


class Unauthorised(Problem):
    status, code, title = 401, "unauthorised", "A key is needed"


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "The key does not open this"


class UnknownModel(Problem):
    status, code, title = 404, "unknown-model", "There is no such model here"


class UnknownLook(Problem):
    status, code, title = 404, "unknown-look", "The model behind this look is not here"


class UploadTooSlow(Problem):
    status, code, title = 408, "upload-too-slow", "The request body did not arrive in time"


class BodyTooLarge(Problem):
    status, code, title = 413, "body-too-large", "The request body is too large"


class NotAnImage(Problem):
    status, code, title = 415, "not-an-image", "The body is not an image that is read here"


class DamagedImage(Problem):
    status, code, title = 422, "damaged-image", "The image is damaged"


class TooManyPixels(Problem):
    status, code, title = 422, "too-many-pixels", "The image has too many pixels"


class TooMuchMetadata(Problem):
    status, code, title = 422, "too-much-metadata", "The image has too much metadata"


class AnimatedImage(Problem):
    status, code, title = 422, "animated-image", "The image is animated"


class QuotaExceeded(Problem):
    status, code, title = 429, "quota-exceeded", "The quota of the key is used up"


class BadModel(Problem):
    status, code, title = 500, "bad-model", "A model cannot be read"


class TrainingDiverged(Problem):
    status, code, title = 500, "training-diverged", "Training has come to nothing"


class Overloaded(Problem):
    status, code, title = 503, "overloaded", "The server is at capacity"


class Draining(Problem):
    status, code, title = 503, "draining", "The server is shutting down"


class DeadlineExceeded(Problem):
    status, code, title = 504, "deadline-exceeded", "The answer was not ready in time"


class BadLutFile(ValueError):
    """A LUT file cannot be read: no Problem, since no request holds one."""
