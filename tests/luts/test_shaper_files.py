"""The formats that hold a shaper: OpenColorIO agrees with the kernel."""

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
from app.luts.formats.cube import write_resolve_cube
from app.luts.lut3d import Interpolation, Lut3D
from tests.helpers.oracles import apply_opencolorio

WRITERS = {"resolve.cube": write_resolve_cube, "look.csp": write_csp, "look.clf": write_clf}
LOOKS = ["look", "adaptive_look", "separable_look"]


def parse(file: str) -> ET.Element:
    """Return the root of an XML file."""
    return ET.fromstring(file)  # noqa: S314 -- the file is our own


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize(
    ("file", "interpolation"),
    [
        ("resolve.cube", "tetrahedral"),
        ("resolve.cube", "trilinear"),
        ("look.csp", "tetrahedral"),
        ("look.csp", "trilinear"),
        ("look.clf", "tetrahedral"),  # the file states the interpolation
    ],
)
def test_an_image_is_the_same_in_opencolorio(
    name: str,
    file: str,
    interpolation: Interpolation,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """With long curves, short curves and without: within two levels of 16 bits."""
    lut: Lut3D = request.getfixturevalue(name)
    path = tmp_path / file
    path.write_text(WRITERS[file](lut, title="An oracle's", comments=["for a test"]), newline="\n")
    deep = photo * np.uint16(257)
    expected = apply_opencolorio(path, interpolation, deep).astype(int)
    apply(deep, lut, interpolation)
    assert np.abs(deep - expected).max() <= 2


def test_red_is_fastest_in_csp_and_blue_in_clf() -> None:
    """The second row of the table is red in a .csp file and blue in a .clf file."""
    lut = Lut3D.identity(2)
    assert write_csp(lut, title="t").splitlines()[-7] == "1.000000 0.000000 0.000000"
    array = parse(write_clf(lut, title="t")).find(".//{*}Array")
    assert array is not None
    assert (array.text or "").split("\n")[2] == "0.000000 0.000000 1.000000"


def test_a_clf_states_title_comments_and_nodes(adaptive_look: Lut3D) -> None:
    """Title, comments and nodes are where the specification requires them."""
    root = parse(write_clf(adaptive_look, title="Warm & <soft>", comments=["model a@1"]))
    assert root.attrib["name"] == "Warm & <soft>"
    assert [child.tag.split("}")[1] for child in root] == ["Description", "LUT1D", "LUT3D"]
    assert root[0].text == "model a@1"
    assert [node[0].attrib["dim"] for node in root[1:]] == ["256 3", "33 33 33 3"]


def test_a_clf_is_identified_by_its_content(look: Lut3D, adaptive_look: Lut3D) -> None:
    """The identifier does not depend on the title, but on the LUT."""
    files = [
        write_clf(lut, title=title)
        for lut, title in ((look, "a"), (look, "b"), (adaptive_look, "a"))
    ]
    first, again, other = (parse(file).attrib["id"] for file in files)
    assert first == again != other


@pytest.mark.parametrize("write", WRITERS.values())
@given(text=st.text() | st.just("END METADATA") | st.just("LUT_3D_SIZE 9"))
def test_titles_and_comments_stay_in_their_lines(write: Callable[..., str], text: str) -> None:
    """With any text, the table and the lines around it stay the same."""
    lut = Lut3D.identity(2)
    plain, written = (write(lut, title=it, comments=[it]) for it in ("t", text))
    assert written.isascii()
    assert len(written.splitlines()) == len(plain.splitlines())
    assert written.split("\n")[-9:] == plain.split("\n")[-9:]
    assert written.upper().count("\nEND METADATA\n") == plain.upper().count("\nEND METADATA\n")
    assert written.count("\nLUT_3D_SIZE ") == plain.count("\nLUT_3D_SIZE ")
