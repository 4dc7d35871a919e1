"""Measure the page and clut.js in Chromium, and draw the screenshot of the documentation.

    python -m benchmarks.page [PHOTO [SCREENSHOT.jpg]]

Args:
    PHOTO: a JPEG; by default a photo of the tests, enlarged to 12 megapixels.
    SCREENSHOT.jpg: is written with the page and the photo, half before and half after.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.helpers.browser import launching, visiting
from tests.helpers.http import enlarged, with_grain
from tests.helpers.paths import PHOTOS
from tests.helpers.server import Server, serving

VISITS = 5
SCREEN = {"width": 1440, "height": 900}
WIDTH = 4620  # of a photo of 12 megapixels

MEASURE = """async (text) => {
  const clut = await import("/static/clut.js");
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const image = await clut.decodeImage(new Blob([bytes]));
  const service = new clut.ClutService(location.origin);
  const thumbnail = await clut.makeThumbnail(image);
  const { lut } = await service.predictLook(thumbnail);
  const renderer = new clut.LutRenderer(new OffscreenCanvas(1, 1));
  const read = () => {
    const { gl } = renderer; // reading a pixel waits until all are drawn
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  };
  const timed = async (work) => {
    const begin = performance.now();
    await work();
    read();
    return performance.now() - begin;
  };
  renderer.setLut(lut);
  const first = await timed(async () => {
    await renderer.setImage(image);
    renderer.render();
  });
  const next = [];
  for (const strength of [0.9, 0.8, 0.7, 0.6, 0.5]) {
    next.push(await timed(() => renderer.render({ strength })));
  }
  return { pixels: image.width * image.height, thumbnail: thumbnail.size, first, next };
}"""


def main() -> None:
    """Print the figures."""
    photo = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else default_photo()
    with serving() as server, launching() as browser:
        measure_paint(browser, server)
        measure_apply(browser, server, photo)
        if len(sys.argv) > 2:
            take_screenshot(browser, server, photo, Path(sys.argv[2]))


def default_photo() -> bytes:
    """Return a photo of 12 megapixels."""
    return with_grain(enlarged((PHOTOS / "otters.jpg").read_bytes(), WIDTH))


def address(server: Server) -> str:
    """Return the address of the page."""
    return f"http://127.0.0.1:{server.port}/"


def measure_paint(browser: Browser, server: Server) -> None:
    """Print the first contentful paint, and the bytes that the page loads."""
    paints = []
    sizes: dict[str, int] = {}
    for _ in range(VISITS):
        with visiting(browser, "about:blank", viewport=SCREEN) as page:
            page.on("response", lambda it: sizes.update({it.url: len(it.body())}))
            page.goto(address(server))
            page.wait_for_load_state("networkidle")
            paints.append(first_paint(page))
    print(f"first paint: {median(paints):.0f} ms (median of {VISITS} first visits)")
    print(f"loaded: {sum(sizes.values()) / 1000:.0f} KB in {len(sizes)} files")


def first_paint(page: Page) -> float:
    """Return the milliseconds from the navigation to the first contentful paint."""
    script = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
    return float(page.evaluate(script))


def measure_apply(browser: Browser, server: Server, photo: bytes) -> None:
    """Print the time that a LUT takes in software, and the size of the thumbnail."""
    with visiting(browser, address(server)) as page:
        figures = page.evaluate(MEASURE, base64.b64encode(photo).decode())
    print(f"photo: {figures['pixels'] / 1e6:.1f} MP, {len(photo) / 1000:.0f} KB")
    share = figures["thumbnail"] / len(photo)
    print(f"thumbnail: {figures['thumbnail'] / 1000:.1f} KB ({share:.2%})")
    print(
        f"LUT in software: first {figures['first']:.0f} ms, then {median(figures['next']):.0f} ms"
    )


def take_screenshot(browser: Browser, server: Server, photo: bytes, target: Path) -> None:
    """Write the page as it looks with a photo."""
    options = {"viewport": SCREEN, "device_scale_factor": 1.25, "color_scheme": "dark"}
    with visiting(browser, address(server), **options) as page:
        file = FilePayload(name="photo.jpg", mimeType="image/jpeg", buffer=photo)
        page.locator("#files").set_input_files(file)
        expect(page.locator("#link")).not_to_have_value("")
        expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
        expect(page.locator("#clipped")).to_contain_text("%")
        page.screenshot(path=target, type="jpeg", quality=88)


if __name__ == "__main__":
    main()
