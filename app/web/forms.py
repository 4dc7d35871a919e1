"""Reads the image from a multipart/form-data body (RFC 7578), in time linear in its size."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser

from app.errors import BadRequestBody

PART = "file"

MAX_PARTS = 17
MAX_HEADER_BYTES = 8192  # of one part
MAX_BOUNDARY = 70  # characters: RFC 2046
MAX_CONTENT_TYPE = 1000  # characters
WINDOW = 1 << 20  # bytes searched at a time: other threads run in between

_CHARSETS = ("utf-8", "utf8", "us-ascii", "iso-8859-1", "latin-1", "latin1")


def is_form(content_type: str) -> bool:
    """Return whether a body of this content type is a form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def read_form_file(content_type: str, body: bytes) -> bytes:
    """Return the content of the part named `file`; runs on a thread.

    The part needs no file name. Text before the first boundary and after the last one is
    ignored, as RFC 2046 demands.

    Raises:
        BadRequestBody: the form is malformed, exceeds a limit, or has no such part or several.
    """
    found: bytes | None = None
    begin, delimiter = _first_part(content_type, body)
    for _ in range(MAX_PARTS):
        end = _find(body, delimiter, begin)
        headers, begin = _part_headers(body, begin, end)
        is_image = headers.get_param("name", header="content-disposition") == PART
        if is_image and found is None:
            # Unlike a slice, `join` does not hold the interpreter's lock while it copies.
            found = b"".join((memoryview(body)[begin:end],))
        elif is_image or headers.get_param("filename", header="content-disposition") is not None:
            raise BadRequestBody(f"The form has a file beside the part {PART!r}.")
        begin = _next_part(body, end + len(delimiter))
        if begin == len(body):
            break
    else:
        raise BadRequestBody(f"The form has more than {MAX_PARTS} parts.")
    if found is None:
        raise BadRequestBody(f"The form has no part named {PART!r}.")
    return found


def _first_part(content_type: str, body: bytes) -> tuple[int, bytes]:
    """Return where the first part begins, and the delimiter before each further one."""
    if len(content_type) > MAX_CONTENT_TYPE:
        raise BadRequestBody(f"The Content-Type has more than {MAX_CONTENT_TYPE} characters.")
    header = Message()
    header["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    charset, boundary = header.get_param("charset", "utf-8"), header.get_param("boundary", "")
    if str(charset).lower() not in _CHARSETS:
        raise BadRequestBody("The charset of a form must be utf-8 or iso-8859-1.")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= MAX_BOUNDARY:
        raise BadRequestBody(f"The form needs a boundary of at most {MAX_BOUNDARY} characters.")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    if body.startswith(delimiter[2:]):
        return _next_part(body, len(delimiter) - 2), delimiter
    return _next_part(body, _find(body, delimiter, 0) + len(delimiter)), delimiter


def _next_part(body: bytes, position: int) -> int:
    """Return where the part behind a delimiter begins; the end of the body behind the last one."""
    if body.startswith(b"--", position):
        return len(body)
    end = body.find(b"\r\n", position, position + MAX_HEADER_BYTES)
    if end < 0 or body[position:end].strip(b" \t"):
        raise BadRequestBody("A boundary of the form is not followed by a line break.")
    return end + 2


def _part_headers(body: bytes, begin: int, end: int) -> tuple[Message, int]:
    """Return the headers of a part, and where its content begins."""
    if body.startswith(b"\r\n", begin):
        raise BadRequestBody("A part of the form has no headers.")
    blank = body.find(b"\r\n\r\n", begin, min(end, begin + MAX_HEADER_BYTES))
    if blank < 0:
        raise BadRequestBody(
            f"The headers of a part are not complete within {MAX_HEADER_BYTES} bytes."
        )
    return BytesHeaderParser().parsebytes(body[begin:blank]), blank + 4


def _find(body: bytes, delimiter: bytes, position: int) -> int:
    """Return where the next delimiter begins.

    Raises:
        BadRequestBody: there is none.
    """
    for begin in range(position, len(body), WINDOW):
        found = body.find(delimiter, begin, begin + WINDOW + len(delimiter) - 1)
        if found >= 0:
            return found
    raise BadRequestBody("The form ends before its last boundary.")
