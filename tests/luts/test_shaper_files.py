"""The formats that hold a shaper: OpenColorIO reads the files and answers what our kernel does."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.luts.apply import apply
from app.luts.formats.clf import write_clf
from app.luts.formats.csp import write_csp
from app.luts.formats.resolve import write_resolve_cube
from app.luts.lut3d import Interpolation, Lut3D
from tests.luts.oracles import opencolorio

WRITERS = {"resolve.cube": write_resolve_cube, "look.csp": write_csp, "look.clf": write_clf}
LOOKS = ["look", "adaptive_look", "separable_look"]


def parsed(file: str) -> ET.Element:
    """The root of an XML file."""
    return ET.fromstring(file)  # noqa: S314 -- we wrote it


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize(
    ("file", "interpolation"),
    [
        ("resolve.cube", "tetrahedral"),
        ("resolve.cube", "trilinear"),
        ("look.csp", "tetrahedral"),
        ("look.csp", "trilinear"),
        ("look.clf", "tetrahedral"),  # the file says which
    ],
)
def test_a_photo_looks_the_same(
    name: str,
    file: str,
    interpolation: Interpolation,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """With long curves, with short ones and without: to two levels of 16 bits."""
    lut: Lut3D = request.getfixturevalue(name)
    path = tmp_path / file
    path.write_text(WRITERS[file](lut, title="An oracle's", comments=["for a test"]), newline="\n")
    deep = photo * np.uint16(257)
    expected = opencolorio(path, interpolation, deep).astype(int)
    apply(deep, lut, interpolation)
    assert np.abs(deep - expected).max() <= 2


def test_red_is_fastest_in_csp_and_blue_in_clf() -> None:
    """The second row of the table tells."""
    lut = Lut3D.identity(2)
    assert write_csp(lut, title="t").splitlines()[-7] == "1.000000 0.000000 0.000000"
    array = parsed(write_clf(lut, title="t")).find(".//{*}Array")
    assert array is not None
    assert (array.text or "").split("\n")[2] == "0.000000 0.000000 1.000000"


def test_a_clf_says_what_it_is(adaptive_look: Lut3D) -> None:
    """Title, comments and nodes are where the specification has them."""
    root = parsed(write_clf(adaptive_look, title="Warm & <soft>", comments=["model a@1"]))
    assert root.attrib["name"] == "Warm & <soft>"
    assert [child.tag.split("}")[1] for child in root] == ["Description", "LUT1D", "LUT3D"]
    assert root[0].text == "model a@1"
    assert [node[0].attrib["dim"] for node in root[1:]] == ["256 3", "33 33 33 3"]


def test_a_clf_is_identified_by_its_content(look: Lut3D, adaptive_look: Lut3D) -> None:
    """The same LUT has the same identifier under any title, and another LUT another."""
    files = [
        write_clf(lut, title=title)
        for lut, title in ((look, "a"), (look, "b"), (adaptive_look, "a"))
    ]
    first, again, other = (parsed(file).attrib["id"] for file in files)
    assert first == again != other


@pytest.mark.parametrize("write", WRITERS.values())
@given(text=st.text() | st.just("END METADATA") | st.just("LUT_3D_SIZE 9"))
def test_titles_and_comments_cannot_break_out(write: Callable[..., str], text: str) -> None:
    """Whatever text arrives, the table behind it is what it was."""
    lut = Lut3D.identity(2)
    plain, written = (write(lut, title=it, comments=[it]) for it in ("t", text))
    assert written.isascii()
    assert len(written.splitlines()) == len(plain.splitlines())
    assert written.split("\n")[-9:] == plain.split("\n")[-9:]
    assert written.upper().count("\nEND METADATA\n") == plain.upper().count("\nEND METADATA\n")
    assert written.count("\nLUT_3D_SIZE ") == plain.count("\nLUT_3D_SIZE ")
