"""The page at /, used in Chromium as people use it."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Download, Locator, Page, Response, expect

from app.access import Scope, new_key, write_keys
from app.policies import STORE
from app.web.page import FILES
from tests.helpers.browser import drop, launching, needs_chromium, visiting, without_errors
from tests.helpers.http import enlarged
from tests.helpers.metrics import samples
from tests.helpers.networks import make_network, write_network
from tests.helpers.raw import connect, post
from tests.helpers.restoration import make_store
from tests.helpers.server import Server, serving
from tests.helpers.waiting import wait_until

pytestmark = needs_chromium

MAX_BYTES = 150_000  # of all files of the page
MAKER = 0x10F  # EXIF: of the camera
ROOM = 100_000  # bytes of request bodies in a server that is easily full
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
LANGUAGES = {
    "en": "Choose photos",
    "de": "Fotos wählen",
    "fr": "Choisir des photos",
    "es": "Elegir fotos",
    "zh": "选择照片",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the browser once for this module."""
    with launching() as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """Open an empty tab: a new one for each test would take three times the processor time."""
    with visiting(browser, "about:blank") as tab:
        yield tab


@pytest.fixture
def page(tab: Page, server: Server) -> Iterator[Page]:
    """Load the page, which stores nothing in the browser."""
    with without_errors(tab):
        tab.goto(address(server))
        yield tab


@pytest.fixture
def enhanced(page: Page, dim: bytes) -> Page:
    """Open the page and drop a photo on it."""
    drop(page, {"otters.jpg": dim})
    wait_for_look(page)
    return page


def address(server: Server, path: str = "/") -> str:
    """Return the address of a path on the server."""
    return f"http://127.0.0.1:{server.port}{path}"


def wait_for_look(page: Page) -> None:
    """Wait until the photo on the screen has its look."""
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#link")).not_to_have_value("")


def set_range(page: Page, selector: str, value: int) -> None:
    """Move a slider."""
    page.locator(selector).fill(str(value))


def pixels(page: Page) -> np.ndarray:
    """Return the visible part of the photo, (H, W, 3) uint8."""
    # The lines and labels over the photo are hidden, so that it alone is compared.
    style = page.locator("#stage > :not(canvas)")
    style.evaluate_all("(all) => all.forEach((it) => (it.style.visibility = 'hidden'))")
    shot = page.locator("#photo").screenshot()
    style.evaluate_all("(all) => all.forEach((it) => (it.style.visibility = ''))")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))


def reduced(photo: bytes, width: int) -> bytes:
    """Reduce a JPEG to a width."""
    image = Image.open(io.BytesIO(photo))
    image.thumbnail((width, width))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def saved(download: Download) -> bytes:
    """Return the content of a download."""
    return Path(download.path()).read_bytes()


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photo_is_enhanced(page: Page, dim: bytes, event: str) -> None:
    """A photo that is dropped or pasted shows its look, its curves and its figures."""
    drop(page, {"otters.jpg": dim}, event)
    wait_for_look(page)
    assert float(page.locator("#difference").inner_text()) > 0.5
    assert re.fullmatch(r"[\d.]+ → [\d.]+ %", page.locator("#clipped").inner_text())
    assert page.locator("#curves .curve").first.get_attribute("d")
    expect(page.locator("#status")).to_have_text("otters.jpg is enhanced.")


def test_only_a_thumbnail_is_sent(page: Page, client: httpx.Client, otters: bytes) -> None:
    """Until the download the server receives nothing of the photo but a small copy."""
    before = received(client)
    drop(page, {"otters.jpg": otters})
    wait_for_look(page)
    assert 0 < received(client) - before < 40_000 < len(otters)


def received(client: httpx.Client) -> float:
    """Return the bytes of all request bodies."""
    return samples(client)["clut_received_bytes_total", ()]


def test_taking_a_photo(page: Page) -> None:
    """A computer with a camera shows its picture, and the shutter takes it."""
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#camera-dialog")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Take the photo").click()
    wait_for_look(page)
    expect(page.locator("#curl")).to_have_value(re.compile("@photo.jpg"))


def choose(button: Locator, file: Path) -> None:
    """Choose a file in the browser's dialog that a button opens."""
    with button.page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files(file)


def test_choosing_files(page: Page, photos: Path) -> None:
    """Both buttons open the browser's dialog; a photo chosen later joins the album."""
    choose(page.locator("#choose"), photos / "otters.jpg")
    wait_for_look(page)
    choose(page.locator("#open"), photos / "lake.jpg")
    expect(page.locator("#album button")).to_have_count(2)


def test_taking_a_photo_on_a_phone(browser: Browser, server: Server, photos: Path) -> None:
    """A phone's own camera takes it."""
    with visiting(browser, address(server), **PHONE) as page:
        choose(page.get_by_role("button", name="Take a photo"), photos / "otters.jpg")
        wait_for_look(page)


def test_split(enhanced: Page) -> None:
    """Left of the split the photo is as it was, right of it it is enhanced."""
    stage = enhanced.locator("#stage").bounding_box()
    assert stage
    middle = stage["y"] + stage["height"] / 2
    before, after = (show_split(enhanced, share) for share in (100, 0))
    assert np.abs(before.astype(int) - after).mean() > 0.5
    enhanced.mouse.move(stage["x"] + stage["width"] / 2, middle)
    enhanced.mouse.down()
    enhanced.mouse.move(stage["x"] + stage["width"] / 4, middle, steps=3)
    enhanced.mouse.up()
    expect(enhanced.locator("#split")).to_have_attribute("aria-valuenow", "25")
    both = pixels(enhanced)
    quarter = both.shape[1] // 4
    assert np.abs(both[:, : quarter - 4].astype(int) - before[:, : quarter - 4]).max() <= 1
    assert np.abs(both[:, quarter + 4 :].astype(int) - after[:, quarter + 4 :]).max() <= 1


def show_split(page: Page, percent: int) -> np.ndarray:
    """Move the split to an end with the keyboard, and return the visible photo."""
    page.locator("#split").focus()
    page.keyboard.press("End" if percent == 100 else "Home")
    expect(page.locator("#split")).to_have_attribute("aria-valuenow", str(percent))
    return pixels(page)


def test_strength_needs_no_request(enhanced: Page) -> None:
    """Moving the strength changes the photo and the figures at once, without the server."""
    after = show_split(enhanced, 0)
    requests: list[str] = []
    enhanced.on("request", lambda request: requests.append(request.url))
    set_range(enhanced, "#strength", 0)
    expect(enhanced.locator("#difference")).to_have_text("0.0")
    unchanged = pixels(enhanced)
    set_range(enhanced, "#strength", 50)
    half = pixels(enhanced)
    middle = (unchanged.astype(int) + after) / 2
    assert np.abs(half - middle).mean() < 0.4  # linear in the strength, but for clipping
    assert np.abs(unchanged.astype(int) - after).mean() > 0.5
    assert requests == []
    assert "strength=0.5" in enhanced.locator("#curl").input_value()
    assert "strength=0.5" in enhanced.locator("#link").input_value()


def test_zoom(enhanced: Page) -> None:
    """The wheel, the buttons and the keys zoom; a drag then moves the photo."""
    fitted = show_split(enhanced, 0)
    zoom = enhanced.locator("#zoom-fit")
    percent = zoom.inner_text()
    enhanced.locator("#stage").hover(position={"x": 100, "y": 200})
    enhanced.mouse.wheel(0, -400)
    expect(zoom).not_to_have_text(percent)
    closer = pixels(enhanced)
    assert np.abs(closer.astype(int) - fitted).mean() > 2
    enhanced.mouse.down()
    enhanced.mouse.move(500, 300, steps=2)
    enhanced.mouse.up()
    assert np.abs(pixels(enhanced).astype(int) - closer).mean() > 2
    enhanced.locator("#stage").focus()
    enhanced.keyboard.press("0")
    expect(zoom).to_have_text(percent)
    enhanced.get_by_role("button", name="Zoom in").click()
    expect(zoom).not_to_have_text(percent)


def test_pinch(browser: Browser, server: Server, otters: bytes) -> None:
    """Two fingers that move apart zoom in."""
    with visiting(browser, address(server), **PHONE) as page:
        drop(page, {"otters.jpg": otters})
        wait_for_look(page)
        zoom = page.locator("#zoom-fit")
        percent = int(zoom.inner_text().rstrip(" %"))
        touch = page.context.new_cdp_session(page)
        for kind, gap in (("touchStart", 40), ("touchMove", 90), ("touchMove", 160)):
            points = [{"x": 195 + sign * gap / 2, "y": 200, "id": sign} for sign in (0, 1)]
            points[0]["x"] = 195 - gap / 2
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(zoom).not_to_have_text(f"{percent} %")
        assert int(zoom.inner_text().rstrip(" %")) > 2 * percent


def test_download(enhanced: Page, client: httpx.Client, dim: bytes) -> None:
    """The download is the response for the same look, strength, format and size."""
    set_range(enhanced, "#strength", 60)
    enhanced.get_by_label("Format").select_option("png")
    enhanced.get_by_label("Size").select_option("1280")
    with enhanced.expect_download() as download:
        enhanced.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "otters-enhanced.png"
    command = shlex.split(enhanced.locator("#curl").input_value())
    (target,) = [word for word in command if word.startswith("http")]
    expected = client.post(target, content=dim).content
    image = Image.open(io.BytesIO(saved(download.value)))
    assert (image.format, image.size) == ("PNG", (853, 480))
    difference = np.asarray(image).astype(int) - np.asarray(Image.open(io.BytesIO(expected)))
    assert np.abs(difference).max() <= 1


def test_curl(enhanced: Page, otters: bytes, tmp_path: Path) -> None:
    """The command works in a shell as it is copied."""
    (tmp_path / "otters.jpg").write_bytes(otters)
    command = enhanced.locator("#curl").input_value()
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    with Image.open(tmp_path / "otters-enhanced.jpg") as image:
        assert image.size == (853, 480)


def test_copy(browser: Browser, server: Server, dim: bytes) -> None:
    """The link and the command are copied to the clipboard as they are shown."""
    permissions = ["clipboard-read", "clipboard-write"]
    with visiting(browser, address(server), permissions=permissions) as page:
        drop(page, {"otters.jpg": dim})
        wait_for_look(page)
        for name in ("link", "curl"):
            page.locator(f"#copy-{name}").click()
            expect(page.locator("#status")).to_have_text("Copied.")
            copied = page.evaluate("navigator.clipboard.readText()")
            assert copied == page.locator(f"#{name}").input_value()


def test_lattice(enhanced: Page) -> None:
    """The lattice turns by keys and by the pointer, and follows the strength."""
    lattice = enhanced.locator("#lattice")
    lattice.scroll_into_view_if_needed()
    looked = [settled(lattice)]
    lattice.press("ArrowRight")
    looked.append(settled(lattice))
    lattice.drag_to(lattice, source_position={"x": 60, "y": 60}, target_position={"x": 90, "y": 70})
    looked.append(settled(lattice))
    set_range(enhanced, "#strength", 0)
    looked.append(settled(lattice))
    assert len(set(looked)) == len(looked)


def settled(canvas: Locator) -> bytes:
    """Take a picture of a canvas once it no longer changes."""
    pictures = [canvas.screenshot()]

    def is_still() -> bool:
        pictures.append(canvas.screenshot())
        return pictures[-1] == pictures[-2]

    wait_until(is_still)
    return pictures[-1]


def test_the_lattice_turns_by_itself(browser: Browser, server: Server, otters: bytes) -> None:
    """It does so where the system does not ask for reduced motion."""
    with visiting(browser, address(server), reduced_motion="no-preference") as page:
        drop(page, {"otters.jpg": reduced(otters, 160)})
        wait_for_look(page)
        lattice = page.locator("#lattice")
        lattice.scroll_into_view_if_needed()
        first = lattice.screenshot()
        wait_until(lambda: lattice.screenshot() != first)


def test_model(browser: Browser, tmp_path: Path, otters: bytes) -> None:
    """Another model makes another look."""
    shutil.copytree(STORE / "default", tmp_path / "default")
    write_network(tmp_path, make_network(), "other")
    with serving(MODELS_STORE=tmp_path) as server, visiting(browser, address(server)) as page:
        drop(page, {"otters.jpg": otters})
        wait_for_look(page)
        link = page.locator("#link")
        first = link.input_value()
        page.get_by_label("Model").select_option("other@1")
        expect(link).to_have_value(re.compile(f"^(?!{re.escape(first)}).+"))
        page.get_by_label("Model").select_option("default@2")
        expect(link).to_have_value(first)


def test_local_model(enhanced: Page) -> None:
    """A look that no LUT holds is drawn by the server; its LUT is shown flattened."""
    with enhanced.expect_response(re.compile(r"/enhance\?look=.*max_side")) as response:
        enhanced.get_by_label("Model").select_option("local@2")
    assert response.value.headers["x-model"] == "local@2"
    wait_for_look(enhanced)
    before, after = (show_split(enhanced, share) for share in (100, 0))
    assert np.abs(before.astype(int) - after).mean() > 0.5
    expect(enhanced.get_by_role("alert")).to_be_hidden()
    with enhanced.expect_response(re.compile(r"/enhance\?look=[^&]*$")) as downloaded:
        enhanced.get_by_role("button", name="Download").click()
    assert downloaded.value.headers["x-model"] == "local@2"


def test_upscale(browser: Browser, tmp_path: Path, otters: bytes) -> None:
    """Where the server has a model for it, the photo is shown and saved enlarged."""
    with (
        serving(MODELS_STORE=make_store(tmp_path, 2)) as server,
        visiting(browser, address(server)) as page,
    ):
        drop(page, {"otters.jpg": reduced(otters, 160)})
        wait_for_look(page)
        upscale = page.get_by_label("Upscale")
        assert upscale.locator("option").all_inner_texts() == ["Off", "2×", "3×", "4×"]
        page.locator("#language").select_option("de")
        page.locator("#language").select_option("en")
        before = show_split(page, 0)
        with page.expect_response(re.compile(r"/enhance\?.*upscale=2")):
            upscale.select_option("2×")
        wait_for_look(page)
        # The model of the test repeats pixels, so what is seen hardly changes.
        assert 0 < np.abs(pixels(page).astype(int) - before).mean() < 3
        assert "upscale=2" in page.locator("#curl").input_value()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert Image.open(io.BytesIO(saved(download.value))).size == (320, 180)


def test_restore(enhanced: Page) -> None:
    """The photo is shown cleaned, by the model that is part of the service."""
    before = show_split(enhanced, 0)
    with enhanced.expect_response(re.compile(r"/enhance\?.*restore=1")) as response:
        enhanced.get_by_label("Restore").select_option("100\u00a0%")
    assert response.value.headers["x-restore"]
    wait_for_look(enhanced)
    expect(enhanced.get_by_role("alert")).to_be_hidden()
    assert 0 < np.abs(pixels(enhanced).astype(int) - before).mean() < 5
    assert "restore=1" in enhanced.locator("#curl").input_value()


def test_enlarging_restores_unless_told_not_to(enhanced: Page) -> None:
    """The page shows the service's default of `restore` beside `upscale`; Off is sent as such."""
    upscale, restore = (enhanced.get_by_label(label) for label in ("Upscale", "Restore"))
    expect(restore).to_have_value("off")
    with enhanced.expect_response(re.compile(r"/enhance\?.*restore=auto.*upscale=2")):
        upscale.select_option("2×")
    expect(restore).to_have_value("auto")
    wait_for_look(enhanced)
    with enhanced.expect_response(re.compile(r"/enhance\?.*restore=off.*upscale=2")):
        restore.select_option("Off")
    wait_for_look(enhanced)
    expect(enhanced.get_by_role("alert")).to_be_hidden()


def test_without_restoration_models(browser: Browser, tmp_path: Path, otters: bytes) -> None:
    """A server without models for them offers neither, and draws nothing but the LUT."""
    with (
        serving(MODELS_STORE=make_store(tmp_path)) as server,
        visiting(browser, address(server)) as page,
    ):
        drop(page, {"otters.jpg": otters})
        wait_for_look(page)
        expect(page.locator("#extras select")).to_have_count(0)


def test_album(page: Page, photos: Path) -> None:
    """Each photo of an album has a look of its own, or all have that of the first."""
    names = ["lake.jpg", "otters.jpg", "sunset.jpg"]
    drop(page, {name: (photos / name).read_bytes() for name in names})
    wait_for_look(page)
    first = page.locator("#link").input_value()
    page.get_by_role("button", name="otters.jpg").click()
    expect(page.locator("#curl")).to_have_value(re.compile("@otters.jpg"))
    wait_for_look(page)
    assert page.locator("#link").input_value() != first
    page.get_by_label("That of the first photo").check()
    expect(page.locator("#link")).to_have_value(first)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all 3 as ZIP").click()
    with zipfile.ZipFile(io.BytesIO(saved(download.value))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [name.replace(".jpg", "-enhanced.jpg") for name in names]
        for name in archive.namelist():
            Image.open(io.BytesIO(archive.read(name))).load()


def test_nothing_leaves_the_device(
    browser: Browser, server: Server, photos: Path, dim: bytes
) -> None:
    """With local=1 photos are enhanced and saved by the browser, also without a network."""
    names = ["otters.jpg", "lake.jpg"]
    with visiting(browser, address(server, "/?local=1")) as page:
        posts: list[str] = []
        page.on("request", lambda it: posts.append(it.url) if it.method == "POST" else None)
        drop(page, {"otters.jpg": dim})
        expect(page.locator("#status")).to_have_text("otters.jpg is enhanced.")
        assert float(page.locator("#difference").inner_text()) > 0.5
        before, after = (show_split(page, share) for share in (100, 0))
        assert np.abs(before.astype(int) - after).mean() > 0.5
        page.context.set_offline(True)
        drop(page, {"lake.jpg": (photos / "lake.jpg").read_bytes()})
        expect(page.locator("#status")).to_have_text("lake.jpg is enhanced.")
        page.get_by_label("Size").select_option("1280")
        page.get_by_label("Format").select_option("png")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download all 2 as ZIP").click()
        with zipfile.ZipFile(io.BytesIO(saved(download.value))) as archive:
            assert archive.namelist() == [it.replace(".jpg", "-enhanced.png") for it in names]
            for name in archive.namelist():
                Image.open(io.BytesIO(archive.read(name))).load()
        drop(page, {"letter.txt": b"Dear Sir or Madam"})
        expect(page.get_by_role("alert")).to_contain_text("not a photo that can be read")
        expect(page.locator("#share")).to_be_hidden()
        assert posts == []


def test_metadata_on_the_device(browser: Browser, server: Server, tmp_path: Path) -> None:
    """A JPEG written for a JPEG has its metadata, if wanted; others cannot, and offer no choice."""
    exif = Image.Exif()
    exif[MAKER] = "Maker"
    Image.new("RGB", (64, 48), "gray").save(tmp_path / "gray.jpg", exif=exif)
    with visiting(browser, address(server, "/?local=1")) as page:
        choose(page.locator("#choose"), tmp_path / "gray.jpg")
        expect(page.locator("#status")).to_have_text("gray.jpg is enhanced.")
        for choice, maker in (("keep", "Maker"), ("strip", None)):
            page.get_by_label("Metadata").select_option(choice)
            with page.expect_download() as download:
                page.get_by_role("button", name="Download").click()
            assert Image.open(io.BytesIO(saved(download.value))).getexif().get(MAKER) == maker
        page.get_by_label("Format").select_option("png")
        expect(page.get_by_label("Metadata")).to_be_hidden()


@pytest.mark.parametrize("side", ["", "1280"])
def test_the_device_writes_what_the_server_writes(
    browser: Browser, server: Server, client: httpx.Client, otters: bytes, side: str
) -> None:
    """A download of local=1 is nearly that of the server, in the same size."""
    photo = enlarged(otters, 1600)
    query = {"format": "png"} | ({"max_side": side} if side else {})
    expected = client.post("/enhance", params=query, content=photo).raise_for_status().content
    with visiting(browser, address(server, "/?local=1")) as page:
        drop(page, {"otters.jpg": photo})
        expect(page.locator("#status")).to_have_text("otters.jpg is enhanced.")
        page.get_by_label("Format").select_option("png")
        page.get_by_label("Size").select_option(side)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        written = saved(download.value)
    one, other = (
        np.asarray(Image.open(io.BytesIO(it)).convert("RGB")).astype(int)
        for it in (written, expected)
    )
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 1.5


def test_modes_lead_to_each_other(page: Page) -> None:
    """The welcome states which data is sent, and links to the mode without uploads, and back."""
    page.get_by_role("link", name="Stay on this device").click()
    expect(page.locator("#privacy")).to_contain_text("Nothing of your photos leaves this device")
    expect(page.get_by_text("On this device", exact=True)).to_be_visible()
    page.get_by_role("link", name="Use the server").click()
    expect(page.locator("#privacy")).to_contain_text("A thumbnail of some 30 KB is sent")


def test_link(browser: Browser, server: Server, client: httpx.Client, otters: bytes) -> None:
    """A link opens its look without an upload, and a photo then gets that look."""
    token = client.post("/enhance", content=otters).headers["x-look"]
    with visiting(browser, address(server, f"/?look={token}&strength=0.7")) as page:
        wait_for_look(page)
        expect(page.locator("#strength")).to_have_value("70")
        expect(page.get_by_text("This look came with the link.")).to_be_visible()
        assert page.locator("#curves .curve").first.get_attribute("d")
        drop(page, {"lake.jpg": otters})
        expect(page.locator("#curl")).to_have_value(re.compile("@lake.jpg"))
        assert f"look={token}" in page.locator("#curl").input_value()
        page.get_by_role("button", name="Predict one instead").click()
        expect(page.locator("#linked")).to_be_hidden()
        wait_for_look(page)
        assert "look=" not in page.url


def test_link_on_the_device(
    browser: Browser, server: Server, client: httpx.Client, otters: bytes
) -> None:
    """The browser applies the look of a link, and stays in its mode when that is dropped."""
    token = client.post("/enhance", content=otters).headers["x-look"]
    with visiting(browser, address(server, f"/?local=1&look={token}")) as page:
        wait_for_look(page)
        drop(page, {"otters.jpg": otters})
        expect(page.locator("#curl")).to_have_value(re.compile("@otters.jpg"))
        page.get_by_role("button", name="Predict one instead").click()
        expect(page.locator("#share")).to_be_hidden()
        expect(page.locator("#status")).to_have_text("otters.jpg is enhanced.")
        assert page.url.endswith("/?local=1")


def test_broken_link(browser: Browser, server: Server) -> None:
    """A look of an unknown model is reported."""
    with visiting(browser, address(server, "/?look=nonsense")) as page:
        expect(page.get_by_role("alert")).to_contain_text("This look is not available here.")


def test_no_webgl(browser: Browser, server: Server, otters: bytes) -> None:
    """Without WebGL2 the page shows an error, when it opens and when a photo is chosen."""
    with visiting(browser, "about:blank") as page:
        page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        page.goto(address(server))
        expect(page.get_by_role("alert")).to_contain_text("has no WebGL2")
        page.get_by_role("alert").get_by_role("button", name="Close").click()
        drop(page, {"otters.jpg": otters})
        expect(page.get_by_role("alert")).to_contain_text("has no WebGL2")


def test_text_file(page: Page, otters: bytes) -> None:
    """A file that is no image is reported, and does not stay in the album."""
    drop(page, {"letter.txt": b"Dear Sir or Madam"})
    expect(page.get_by_role("alert")).to_contain_text("This file is not a photo that can be read.")
    expect(page.locator("#welcome")).to_be_visible()
    drop(page, {"otters.jpg": otters})
    wait_for_look(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_format_that_the_browser_does_not_read(page: Page, otters: bytes) -> None:
    """The server reads a TIFF for the browser."""
    tiff = io.BytesIO()
    Image.open(io.BytesIO(otters)).save(tiff, "TIFF")
    drop(page, {"otters.tif": tiff.getvalue()})
    wait_for_look(page)
    assert pixels(page).std() > 20
    assert "otters-enhanced.tif" in page.locator("#curl").input_value()


def test_too_large(browser: Browser, photos: Path) -> None:
    """A photo over the limit of the server is shown, and its download reports the limit."""
    with serving(UPLOAD_MAX_BYTES=60_000) as server, visiting(browser, address(server)) as page:
        drop(page, {"otters.jpg": (photos / "otters.jpg").read_bytes()})
        wait_for_look(page)
        page.get_by_role("button", name="Download").click()
        expect(page.get_by_role("alert")).to_contain_text("too large for the server")


def test_busy_server(browser: Browser, otters: bytes) -> None:
    """A 503 is reported, and trying again works once the server has room."""
    settings = {"UPLOAD_MAX_BYTES": ROOM, "UPLOAD_BUDGET_BYTES": ROOM, "UPLOAD_TIMEOUT": 600}
    with serving(**settings) as server, visiting(browser, address(server)) as page:
        with full(server):
            drop(page, {"otters.jpg": otters})
            expect(page.get_by_role("alert")).to_contain_text("The server is busy.")
        page.get_by_role("button", name="Try again").click()
        wait_for_look(page)
        expect(page.get_by_role("alert")).to_be_hidden()


@contextmanager
def full(server: Server) -> Iterator[None]:
    """Occupy all the room for bodies of a server, by one that does not end."""
    with connect(server.port) as connection:
        connection.sendall(post("/enhance", bytes(ROOM))[:-1])
        wait_until(lambda: held(server.client) == ROOM - 1)
        yield
    wait_until(lambda: held(server.client) == 0)


def held(client: httpx.Client) -> float:
    """Return the bytes of request bodies in memory."""
    return samples(client)["clut_in_flight_bytes", ()]


def test_api_key(browser: Browser, tmp_path: Path, otters: bytes) -> None:
    """Requests to a server with keys have the key that the user enters, which is not stored."""
    secret, key = new_key("page", frozenset({Scope.ENHANCE, Scope.LUT}))
    file = tmp_path / "keys.json"
    write_keys(file, [key])
    with serving(AUTH_FILE=file) as server, visiting(browser, address(server)) as page:
        drop(page, {"otters.jpg": otters})
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("Key").fill("wrong")
        dialog.get_by_role("button", name="Continue").click()
        expect(dialog.get_by_label("Key")).to_have_value("")
        dialog.get_by_label("Key").fill(secret)
        dialog.get_by_role("button", name="Continue").click()
        wait_for_look(page)
        assert secret not in page.locator("#curl").input_value()
        stored = page.evaluate(
            "() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
        )
        assert secret not in stored


def test_keyboard(page: Page, otters: bytes) -> None:
    """The page is usable without a mouse, from the first tab on."""
    page.keyboard.press("Tab")
    names = []
    for _ in range(5):
        names.append(page.evaluate("() => document.activeElement.textContent.trim().slice(0, 20)"))
        page.keyboard.press("Tab")
    assert "Choose photos" in names
    drop(page, {"otters.jpg": otters})
    wait_for_look(page)
    assert page.evaluate("() => document.activeElement.id") == "split"
    page.keyboard.press("ArrowRight")
    expect(page.locator("#split")).to_have_attribute("aria-valuenow", "52")
    for _ in range(40):
        if page.evaluate("() => document.activeElement.id") == "strength":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#strength-value")).to_have_text("99")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
def test_accessibility(
    browser: Browser, server: Server, photos: Path, scheme: str, device: dict[str, object]
) -> None:
    """Axe finds no violation, and nothing is wider than the screen."""
    files = {name: (photos / name).read_bytes() for name in ("lake.jpg", "otters.jpg")}
    # Axe runs in the page, whose policy allows no scripts but its own.
    options = {"bypass_csp": True, "color_scheme": scheme} | device
    with visiting(browser, address(server), **options) as page:
        check_accessibility(page)
        drop(page, files)
        wait_for_look(page)
        check_accessibility(page)


def check_accessibility(page: Page) -> None:
    """Check the page as it is now."""
    results = Axe().run(page)
    assert not results.violations_count, results.generate_report()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages(browser: Browser, server: Server, language: str) -> None:
    """The page speaks the language of the browser, in full, and another one on request."""
    with visiting(browser, address(server), locale=language) as page:
        expect(page.locator("#choose")).to_have_text(LANGUAGES[language])
        assert page.locator("html").get_attribute("lang") == language
        page.locator("#language").select_option("de")
        expect(page.locator("#choose")).to_have_text("Fotos wählen")


def test_numbers_of_a_language(enhanced: Page) -> None:
    """Numbers are written as the language writes them."""
    number = enhanced.locator("#difference").inner_text()
    enhanced.locator("#language").select_option("de")
    expect(enhanced.locator("#difference")).to_have_text(number.replace(".", ","))


def test_every_language_has_every_text() -> None:
    """No text is missing in a language, and each has the same places for values."""
    places = {}
    for code in LANGUAGES:
        source = (FILES / f"page/strings/{code}.js").read_text()
        texts = dict(re.findall(r'^  (\w+): "(.*)",$', source, re.MULTILINE))
        assert len(texts) > 50
        places[code] = {key: sorted(re.findall(r"\{\w+\}", it)) for key, it in texts.items()}
    assert all(it == places["en"] for it in places.values())


def test_size(browser: Browser, server: Server) -> None:
    """The page is below its budget, and loads nothing from another host."""
    responses: list[Response] = []
    with visiting(browser, "about:blank") as page:
        page.on("response", lambda response: responses.append(response))
        page.goto(address(server))
        page.wait_for_load_state("networkidle")
        sizes = {response.url: len(response.body()) for response in responses}
    assert len(sizes) > 10
    assert all(url.startswith(address(server)) for url in sizes)
    assert sum(sizes.values()) < MAX_BYTES
    assert sum(file.stat().st_size for file in FILES.rglob("*") if file.is_file()) < MAX_BYTES
