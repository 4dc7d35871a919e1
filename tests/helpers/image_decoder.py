"""Chromium's ImageDecoder, a reader of animations in every format that shares no code with ours."""

from __future__ import annotations

import base64
from typing import NamedTuple

from playwright.sync_api import Error, Page

_SCRIPT = """async ([text, type]) => {
  const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const decoder = new ImageDecoder({ data, type });
  await decoder.tracks.ready;
  await decoder.completed;
  const { frameCount, repetitionCount } = decoder.tracks.selectedTrack;
  const milliseconds = [];
  for (let frameIndex = 0; frameIndex < frameCount; frameIndex++) {
    const { image } = await decoder.decode({ frameIndex });
    milliseconds.push(image.duration / 1000);
    image.close();
  }
  const plays = Number.isFinite(repetitionCount) ? repetitionCount + 1 : 0;
  return { milliseconds, plays };
}"""


class Timing(NamedTuple):
    """How long each frame of an animation is shown, and how often all are; 0 is without end."""

    milliseconds: list[float]
    plays: int


def read_timing(page: Page, body: bytes, media_type: str) -> Timing | None:
    """Decode an animation; return None if the browser rejects it.

    Args:
        page: of localhost, since the interface needs a secure context.
        body: the file.
        media_type: of the file, such as image/png for an APNG.
    """
    try:
        found = page.evaluate(_SCRIPT, [base64.b64encode(body).decode(), media_type])
    except Error:
        return None
    return Timing(found["milliseconds"], found["plays"])
