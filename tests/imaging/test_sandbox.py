"""Decoders in processes of their own, within limits."""

from __future__ import annotations

import os
import re
import signal
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import prod
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from app.errors import DamagedImage, DeadlineExceeded, NotAnImage, TooManyPixels
from app.imaging.decode import prepare
from app.imaging.probe import EncodedImage, probe
from app.imaging.sandbox import Budget, Outcome, Sandbox
from app.imaging.sandbox_messages import DecoderError
from app.policies import NICENESS, Limits
from tests.helpers.files import one_of_each, saved, scene, tiff, with_chunks
from tests.helpers.heic import heic_item
from tests.helpers.heif_container import avif_item, box, container, pixel_aspect
from tests.imaging.sandbox_calls import (
    allocate,
    compute,
    count_up,
    crash,
    die_once,
    fail,
    lie,
    parent_id,
    power,
    process_id,
    write,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Start processes that end with the tests."""
    with Sandbox(2) as sandbox:
        sandbox.warm_up()
        yield sandbox


def grown(sandbox: Sandbox, before: dict[Outcome, int]) -> dict[Outcome, int]:
    """Return how many calls have ended in each way since then."""
    return {kind: n - before[kind] for kind, n in sandbox.outcomes.items() if n > before[kind]}


def test_results_and_errors_come_back(sandbox: Sandbox) -> None:
    """A call in a sandbox returns what it does here; exceptions of libraries become one class."""
    before, seconds = sandbox.outcomes, sandbox.seconds
    assert sandbox.run(power, 3, 2) == 9
    assert sandbox.run(process_id) != os.getpid()
    with pytest.raises(DecoderError, match="LookupError: no such thing"):
        sandbox.run(fail, "no such thing")
    assert grown(sandbox, before) == {Outcome.OK: 2, Outcome.REJECTED: 1}
    assert sandbox.seconds > seconds


def test_processes_give_way_to_the_service(sandbox: Sandbox) -> None:
    """Decoding there starves neither the event loop nor images beside it."""
    assert all(os.getpriority(os.PRIO_PROCESS, it) >= NICENESS for it in sandbox.processes)


def test_arrays_come_back_writable(sandbox: Sandbox) -> None:
    """Arrays lie in shared memory that no other process writes, so they may be changed."""
    for shape in ([5, 7, 3], [1], [300, 500], [0, 3]):
        array = sandbox.run(count_up, prod(shape), shape)
        array += 1
        assert array.shape == tuple(shape)
        np.testing.assert_array_equal(array.ravel(), np.arange(prod(shape), dtype=np.uint16) + 1)


def test_a_crash_costs_one_call(sandbox: Sandbox) -> None:
    """The file that crashes a decoder is rejected, and the calls beside it return."""
    before = sandbox.outcomes
    with ThreadPoolExecutor(4) as callers:
        good = [callers.submit(sandbox.run, power, 3, n) for n in range(20)]
        crashing = callers.submit(sandbox.run, crash)
        more = [callers.submit(sandbox.run, power, 5, n) for n in range(20)]
        assert [call.result() for call in good] == [3**n for n in range(20)]
        assert [call.result() for call in more] == [5**n for n in range(20)]
        with pytest.raises(DamagedImage, match="decoder crashed"):
            crashing.result()
    assert grown(sandbox, before) == {Outcome.OK: 40, Outcome.CRASHED: 1}


def test_memory_is_limited_for_each_call(sandbox: Sandbox) -> None:
    """A call that allocates more than its budget is rejected; the next has its own budget."""
    budget = Budget(memory=64 << 20)
    with pytest.raises(DamagedImage, match="memory"):
        sandbox.run_within(budget, allocate, 1 << 27)
    assert sandbox.run_within(budget, allocate, 1 << 24) == 1 << 24
    assert sandbox.run_within(Budget(1 << 28), allocate, 1 << 27) == 1 << 27


def test_computing_is_limited(sandbox: Sandbox) -> None:
    """A call that never ends is killed at its limit of CPU time."""
    before = sandbox.outcomes
    with pytest.raises(DamagedImage, match="longer"):
        sandbox.run_within(Budget(cpu_seconds=0.2), compute)
    assert sandbox.run(power, 2, 3) == 8
    assert grown(sandbox, before) == {Outcome.TIMEOUT: 1, Outcome.OK: 1}


def test_a_deadline_ends_the_work(sandbox: Sandbox) -> None:
    """At the deadline the process is killed, not only the waiting ended."""
    before = set(sandbox.processes)
    with pytest.raises(DeadlineExceeded):
        sandbox.run_within(Budget(cpu_seconds=60, deadline=time.monotonic()), compute)
    gone = before - set(sandbox.processes)
    assert [process for process in gone if Path(f"/proc/{process}").exists()] == []


def test_a_process_that_is_killed_from_outside_costs_a_retry(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """A file whose process is killed from outside is decoded again, once."""
    before = sandbox.outcomes
    assert sandbox.run(die_once, tmp_path / "marker") == "done"
    assert grown(sandbox, before) == {Outcome.RETRIED: 1, Outcome.OK: 1}


def test_a_server_of_processes_that_was_killed_is_replaced() -> None:
    """The next process is forked from a new server."""
    with Sandbox() as sandbox:
        server = sandbox.run(parent_id)
        os.kill(server, signal.SIGKILL)
        with suppress(DamagedImage):
            sandbox.run(crash)  # so that a new process is needed
        assert sandbox.run(power, 2, 3) == 8
        assert sandbox.run(parent_id) != server


def test_processes_end_with_their_owner() -> None:
    """Nothing is left running."""
    with Sandbox() as sandbox:
        process = sandbox.run(process_id)
        assert Path(f"/proc/{process}").exists()
        assert sandbox.memory > 1 << 20
    assert not Path(f"/proc/{process}").exists()


def test_what_decoders_print_is_discarded(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    """A damaged file cannot write megabytes to the log of the service."""
    sandbox.run(write, 1, b"noise")
    sandbox.run(write, 2, b"noise")
    assert capfd.readouterr() == ("", "")


def test_a_reply_of_another_type_than_declared_is_a_crash(sandbox: Sandbox) -> None:
    """The process is not used again."""
    before, processes = sandbox.outcomes, sandbox.processes
    with pytest.raises(DamagedImage, match="decoder crashed"):
        sandbox.run(lie)
    assert grown(sandbox, before) == {Outcome.CRASHED: 1}
    assert set(processes) - set(sandbox.processes)


@pytest.mark.parametrize(("name", "body"), one_of_each().items())
def test_every_format_is_decoded_as_without_a_sandbox(
    sandbox: Sandbox, name: str, body: bytes
) -> None:
    """Pixels, alpha, metadata and thumbnail are the same, and so is a smaller size."""
    inside, outside = probe(body, Limits(), sandbox), probe(body, Limits())
    assert (inside.sandbox is None) == (name in ("jpeg progressive", "jpeg gray"))
    for max_side in (None, 40):
        (image, thumbnail), (expected, small) = (
            prepare(it, 16, True, max_side) for it in (inside, outside)
        )
        np.testing.assert_array_equal(image.pixels, expected.pixels)
        assert (image.alpha is None) == (expected.alpha is None)
        assert image.metadata == expected.metadata
        np.testing.assert_allclose(thumbnail, small, rtol=0, atol=1e-6)
        image.pixels[0, 0, 0] ^= 1  # the look is applied in place


def unusual_headers() -> dict[str, bytes]:
    """Return files whose headers have values that ordinary ones leave out."""
    page, wide = Image.fromarray(scene()), pixel_aspect(4, 3)
    cut = struct.pack(">8i", 60, 1, 40, 1, 0, 1, 0, 1)
    pq = with_chunks(saved(scene(), "PNG"), cICP=bytes((9, 16, 0, 1)))
    return {
        "avif": container(b"avif", [avif_item(scene(), wide, box(b"clap", cut))]),
        "heic": container(b"heic", [heic_item(scene(), wide)]),
        "png": pq,
        "tiff": tiff((scene() / 255).astype(np.float32), photometric="rgb"),
        "tiff pages": saved(page, "TIFF", save_all=True, append_images=[page]),
    }


@pytest.mark.parametrize(("name", "body"), unusual_headers().items())
def test_every_value_of_a_header_arrives(sandbox: Sandbox, name: str, body: bytes) -> None:
    """A header that was read in a sandbox is the same, and so are the pixels and the notes."""
    inside, outside = probe(body, Limits(), sandbox), probe(body, Limits())
    assert inside.header == outside.header
    (image, _), (expected, _) = (prepare(it, 16, True, None) for it in (inside, outside))
    np.testing.assert_array_equal(image.pixels, expected.pixels)
    assert image.notes == expected.notes


def expensive_images() -> dict[str, bytes]:
    """Three megapixels of the kinds that take the most memory for each pixel."""
    gray = np.linspace(0, 65535, 2000 * 1500).astype(np.uint16).reshape(1500, 2000)
    rgba, rgb8 = np.dstack([gray] * 4), np.dstack([gray >> 8] * 3).astype(np.uint8)
    light = rgba / np.float64(65535)
    wide = {"iccprofile": imagecodecs.cms_profile("adobergb")}
    return {
        "png 16": imagecodecs.png_encode(rgba, level=1),
        "png 8": imagecodecs.png_encode(rgb8, level=1),
        "tiff": tiff(rgba, photometric="rgb", extrasamples=["assocalpha"], **wide),
        "tiff cmyk": tiff(rgba, photometric="separated"),
        "tiff float": tiff(light, photometric="rgb", extrasamples=["assocalpha"], byteorder=">"),
        "tiff jpeg 2000": tiff(rgb8, photometric="rgb", compression="jpeg2000"),
        "jxl": imagecodecs.jpegxl_encode(rgba, distance=2, effort=1),
        "avif": imagecodecs.avif_encode(rgb8, level=60, speed=10),
    }


@pytest.mark.parametrize(("name", "body"), expensive_images().items())
def test_the_memory_that_is_charged_is_enough(name: str, body: bytes) -> None:
    """The resident memory of a process rises by at most `peak_bytes`, and some for libraries."""
    with Sandbox() as sandbox:
        sandbox.run(process_id)
        (process,) = sandbox.processes
        before = peak_memory(process)
        source = probe(body, Limits(), sandbox)
        prepare(source, 256, False, 1999)
        assert sandbox.processes == [process]
        assert peak_memory(process) - before < source.peak_bytes + LIBRARIES


LIBRARIES = 64 << 20  # bytes that decoders take at any size


def peak_memory(process: int) -> int:
    """Return the most resident memory that a process has had, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def jpeg_with_a_fake_frame() -> bytes:
    """Make a JPEG in whose restart marker a loop over segments finds a frame of 16 by 16 pixels."""
    body = saved(np.zeros((8, 8, 3), np.uint8), "JPEG")
    frame = body.index(b"\xff\xc0")
    large = bytearray(body)
    struct.pack_into(">HH", large, frame + 5, 20_000, 20_000)
    fake = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 16, 16, 3) + b"\1\x22\0\2\x11\1\3\x11\1"
    return bytes(large[:2]) + b"\xff\xd0" + fake[:0] + bytes(large[2:])


def decode_all(body: bytes, sandbox: Sandbox) -> EncodedImage:
    """Read and decode a file as the service does."""
    source = probe(body, Limits(), sandbox)
    prepare(source, 256, False, None)
    return source


def test_a_size_is_the_decoders(sandbox: Sandbox) -> None:
    """A marker without length cannot hide the real size of a JPEG."""
    with pytest.raises(TooManyPixels, match="20000"):
        decode_all(jpeg_with_a_fake_frame(), sandbox)


@pytest.mark.parametrize("compression", ["png", "webp", "jpegxl"])
def test_tiff_codecs_with_a_size_of_their_own_are_not_read(
    sandbox: Sandbox, compression: str
) -> None:
    """Strips of other formats are not supported, whatever size they state."""
    body = tiff(scene(), photometric="rgb", compression=compression)
    with pytest.raises(NotAnImage, match="compression"):
        decode_all(body, sandbox)


def test_a_strip_larger_than_its_image_is_rejected(sandbox: Sandbox) -> None:
    """A TIFF of 16 rows whose JPEG strip has 144 megapixels takes no memory for these."""
    body = bytearray(
        tiff(
            np.zeros((12_000, 12_000, 3), np.uint8),
            photometric="rgb",
            compression="jpeg",
            rowsperstrip=12_000,
        )
    )
    order = "<" if body[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", body, 4)
    (count,) = struct.unpack_from(order + "H", body, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", body, entry)
        if tag in (256, 257, 278):  # width, length, rows per strip
            struct.pack_into(order + ("H" if kind == 3 else "I"), body, entry + 8, 16)
    with pytest.raises(DamagedImage):
        decode_all(bytes(body), sandbox)


@pytest.mark.reference
@pytest.mark.parametrize(
    "name",
    [
        "big.avif",
        "depth.tif",
        "icc10k.png",
        "icc500k.png",
        "jb400t.jpg",
        "jxl.tif",
        "jxrlog2.tif",
        "lzw-segv.tif",
    ],
)
def test_hostile_files(sandbox: Sandbox, shared: Path, name: str) -> None:
    """Files that stopped the service are decoded within their budget, or rejected."""
    body = (shared / "cases" / "hostile" / name).read_bytes()
    source = None
    with suppress(NotAnImage, DamagedImage, TooManyPixels):
        source = decode_all(body, sandbox)
    assert source is None or source.pixels <= Limits().max_pixels
