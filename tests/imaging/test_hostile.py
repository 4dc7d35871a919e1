"""Files that are made to cost memory or time are rejected, or decoded at their charged size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from app.errors import DamagedImage, NotAnImage, Problem, TooManyPixels, TooMuchMetadata
from app.imaging.codecs import jpeg
from app.imaging.colour import reduce_profile
from app.imaging.decode import prepare
from app.imaging.metadata import read_orientation
from app.imaging.probe import EncodedImage, probe
from app.imaging.raster import Metadata
from app.imaging.sandbox import Outcome, Sandbox
from app.policies import Limits
from tests.helpers.files import photo, saved, scene
from tests.helpers.hostile import HOSTILE_FILES, elements_profile, packet, unused_tables

pytestmark = pytest.mark.slow

DECODED = {  # their size is that of their header, so nothing is wrong with them
    "elements.jpg",
    "elements-more.jpg",
    "elements.webp",
    "elements.avif",
    "elements.png",
    "elements-16.tif",
    "table-8.png",
    "table-16.png",
    "table-wide.png",
    "interlaced-16.png",
    "runs.bmp",
    "tables.jpg",
    "markup.png",
}
EITHER = {"less.avif", "less.heic", "less.png", "strip-zstd.tif", "strip-deflate.tif"}
EITHER |= {"strip-lzma.tif", "strip-packbits.tif", "strip-jpeg.tif"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One process, whose memory is measured."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_hostile_files(sandbox: Sandbox, name: str) -> None:
    """No call reaches its limit of time, no decoder crashes, and the message names the fault."""
    before = sandbox.outcomes
    result = decode_all(HOSTILE_FILES[name](), sandbox)
    if isinstance(result, Problem):
        assert name not in DECODED, result
        assert isinstance(result, (DamagedImage, NotAnImage, TooManyPixels, TooMuchMetadata))
        assert "crash" not in result.detail
    else:
        assert name in DECODED | EITHER
    for outcome in (Outcome.TIMEOUT, Outcome.CRASHED, Outcome.RETRIED):
        assert sandbox.outcomes[outcome] == before[outcome]


def decode_all(body: bytes, sandbox: Sandbox) -> EncodedImage | Problem:
    """Decode a file as the service does; return its header, or why it is rejected."""
    try:
        source = probe(body, Limits(), sandbox)
        image, _ = prepare(source, 256, False, None)
    except Problem as problem:
        return problem
    assert image.pixels.shape == (source.height, source.width, 3)
    return source


def test_multi_process_elements_change_no_colour() -> None:
    """The matrix and the curves of a profile are used, as if it had no elements."""
    with_elements = elements_profile(b"D2B1", 10)
    assert b"D2B1" not in reduce_profile(with_elements)[:256]
    picture = scene()
    np.testing.assert_array_equal(
        photo(saved(picture, "PNG", icc_profile=with_elements)).pixels, picture
    )


def test_a_packet_of_too_many_elements_is_not_parsed() -> None:
    """Each element takes some microseconds in the process of the server."""
    assert read_orientation(Metadata(xmp=packet(19_000))) == 6
    assert read_orientation(Metadata(xmp=packet(21_000))) == 1


def test_few_quantisation_tables_are_searched() -> None:
    """The quality is read from a file's tables, and is unknown behind a thousand others."""
    assert jpeg.read_header(unused_tables(0)).quality == pytest.approx(75, abs=5)
    assert jpeg.read_header(unused_tables(1)).quality is None
