"""Measure the page and clut.js in Chromium, and draw the screenshot of the documentation.

    python -m benchmarks.page [PHOTO [SCREENSHOT.jpg]]

Args:
    PHOTO: a JPEG; by default a photo of the tests, enlarged to 12 megapixels.
    SCREENSHOT.jpg: is written with the page and the photo, half before and half after.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from statistics import median

from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, Response, expect

from tests.helpers.browser import launching, visiting
from tests.helpers.clut_js import (
    apply,
    decode,
    enhance,
    look_difference,
    predict,
    run,
    share_of_close_pixels,
)
from tests.helpers.http import enlarged, with_grain
from tests.helpers.paths import PHOTOS
from tests.helpers.server import Server, serving

VISITS = 5
SCREEN = {"width": 1440, "height": 1024}
WIDTH = 4620  # of a photo of 12 megapixels

MEASURE = """
  const image = await clut.decodeImage(read(argument.photo));
  const thumbnail = await clut.makeThumbnail(image);
  const { lut } = await service.predictLook(thumbnail);
  const renderer = new clut.LutRenderer(new OffscreenCanvas(1, 1));
  const finish = () => {
    const { gl } = renderer; // reading a pixel waits until all are drawn
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  };
  const timed = async (work) => {
    const begin = performance.now();
    await work();
    finish();
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
"""


def main() -> None:
    """Print the figures."""
    photo = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else default_photo()
    with serving() as server, launching() as browser:
        measure_paint(browser, server)
        measure_size(browser, server)
        measure_apply(browser, server, photo)
        measure_agreement(browser, server)
        if len(sys.argv) > 2:
            take_screenshot(browser, server, photo, Path(sys.argv[2]))


def default_photo() -> bytes:
    """Return a photo of 12 megapixels."""
    return with_grain(enlarged((PHOTOS / "otters.jpg").read_bytes(), WIDTH))


def address(server: Server) -> str:
    """Return the address of the page."""
    return f"http://127.0.0.1:{server.port}/"


def measure_paint(browser: Browser, server: Server) -> None:
    """Print the first contentful paint of a browser that has nothing of the page yet."""
    paints = []
    for _ in range(VISITS):
        with visiting(browser, "about:blank", viewport=SCREEN) as page:
            page.goto(address(server))
            page.wait_for_load_state("networkidle")
            paints.append(first_paint(page))
    print(f"first paint: {median(paints):.0f} ms (median of {VISITS} first visits)")


def measure_size(browser: Browser, server: Server) -> None:
    """Print the bytes that the page loads."""
    responses: list[Response] = []
    with visiting(browser, "about:blank") as page:
        page.on("response", lambda response: responses.append(response))
        page.goto(address(server))
        page.wait_for_load_state("networkidle")
        size = sum(len(response.body()) for response in responses)
    print(f"loaded: {size / 1000:.0f} KB in {len(responses)} files")


def first_paint(page: Page) -> float:
    """Return the milliseconds from the navigation to the first contentful paint."""
    script = """() => new Promise((resolve) => {
      new PerformanceObserver((list) => {
        for (const it of list.getEntriesByName("first-contentful-paint")) resolve(it.startTime);
      }).observe({ type: "paint", buffered: true });
    })"""
    return float(page.evaluate(script))


def measure_apply(browser: Browser, server: Server, photo: bytes) -> None:
    """Print the time that a LUT takes in software, and the size of the thumbnail."""
    with visiting(browser, address(server)) as page:
        figures = run(page, MEASURE, photo=photo)
    print(f"photo: {figures['pixels'] / 1e6:.1f} MP, {len(photo) / 1000:.0f} KB")
    share = figures["thumbnail"] / len(photo)
    print(f"thumbnail: {figures['thumbnail'] / 1000:.1f} KB ({share:.2%})")
    print(
        f"LUT in software: first {figures['first']:.0f} ms, then {median(figures['next']):.0f} ms"
    )


def measure_agreement(browser: Browser, server: Server) -> None:
    """Print how far looks and pixels of the browser are from those of the service."""
    looks, pixels = [], []
    with visiting(browser, address(server)) as page:
        for file in sorted(PHOTOS.glob("*.jpg")):
            photo = as_png(file)
            token, _ = predict(page, photo)
            looks.append(look_difference(server.client, photo, token))
            drawn = decode(apply(page, photo, token))
            expected = enhance(server.client, photo, look=token, format="png").content
            pixels.append(share_of_close_pixels(drawn, decode(expected)))
    print(f"looks of thumbnails, CIEDE2000: {min(looks):.2f} .. {max(looks):.2f}")
    print(f"pixels within 2 levels: {min(pixels):.3%} .. {max(pixels):.3%}")


def as_png(file: Path) -> bytes:
    """Decode an image once, since decoders of JPEG round differently."""
    buffer = io.BytesIO()
    Image.open(file).save(buffer, "PNG")
    return buffer.getvalue()


def take_screenshot(browser: Browser, server: Server, photo: bytes, target: Path) -> None:
    """Write the page as it looks with a photo."""
    options = {"viewport": SCREEN, "color_scheme": "dark"}
    with visiting(browser, address(server), **options) as page:
        file = FilePayload(name="photo.jpg", mimeType="image/jpeg", buffer=photo)
        page.locator("#files").set_input_files(file)
        expect(page.locator("#link")).not_to_have_value("")
        expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
        expect(page.locator("#clipped")).to_contain_text("%")
        page.screenshot(path=target, type="jpeg", quality=82)


if __name__ == "__main__":
    main()
