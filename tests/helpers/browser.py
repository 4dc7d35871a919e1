"""Debian's Chromium without a window, with WebGL2 in software."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox",  # Chromium has no sandbox for root, as whom containers run tests
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",  # WebGL alone needs it: the rest is cheaper without
    "--use-fake-device-for-media-stream",  # a camera with a test picture
    "--use-fake-ui-for-media-stream",
)
PATIENCE = 120_000  # milliseconds, on a slow and busy machine without a GPU

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"
)


@contextmanager
def launching() -> Iterator[Browser]:
    """Start the browser; leave before another test runs a coroutine, since it holds a loop."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(browser: Browser, address: str, **context: Any) -> Iterator[Page]:
    """Open an address in a new profile; see `without_errors`.

    Args:
        browser: of `launching`.
        address: the address.
        context: options of Playwright's `new_context`.
    """
    options = {"reduced_motion": "reduce", "locale": "en-US"} | context
    profile = browser.new_context(**options)
    profile.set_default_timeout(PATIENCE)
    page = profile.new_page()
    try:
        with without_errors(page):
            page.goto(address)
            yield page
    finally:
        profile.close()


@contextmanager
def without_errors(page: Page) -> Iterator[None]:
    """Fail in the end if the page has logged an error."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Chromium logs every response with an error status itself.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    def note_exception(error: Error) -> None:
        errors.append(str(error))

    page.on("console", note)
    page.on("pageerror", note_exception)
    yield
    page.remove_listener("console", note)
    page.remove_listener("pageerror", note_exception)
    assert errors == []


def drop(page: Page, files: Mapping[str, bytes], event: str = "drop") -> None:
    """Drop files on the page, or paste them, as a user does."""
    page.evaluate(
        """([files, event]) => {
          const data = new DataTransfer();
          for (const [name, text] of Object.entries(files)) {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            data.items.add(new File([bytes], name));
          }
          const options = { bubbles: true, cancelable: true };
          dispatchEvent(
            event === "paste"
              ? new ClipboardEvent("paste", { ...options, clipboardData: data })
              : new DragEvent(event, { ...options, dataTransfer: data }),
          );
        }""",
        [{name: base64.b64encode(body).decode() for name, body in files.items()}, event],
    )
