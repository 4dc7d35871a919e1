"""What a body that is no image that is read here probably is, for the message to its client."""

from __future__ import annotations

import codecs

import puremagic

_HEAD = 4096  # bytes that are looked at


def guess_type(body: bytes) -> str:
    """Return what a body is, to complete "The body is"."""
    head = body[:_HEAD]
    try:
        guess = puremagic.magic_string(head)[0]
    # Its table of formats meets bytes of every kind, and it lets their exceptions through.
    except Exception:
        return "text" if _is_text(head) else "of no known type"
    return f"probably {guess.name} ({guess.mime_type or guess.extension})"


def _is_text(head: bytes) -> bool:
    """Such as an image in base64 or JSON, which is sent by mistake."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
