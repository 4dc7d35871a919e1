"""The README and the documents: what can be pasted works, what is linked is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.luts.formats.cube import read_cube
from tests.helpers.paths import ROOT
from tests.helpers.server import Server


@pytest.mark.server
def test_the_python_example(server: Server, photos: Path, tmp_path: Path) -> None:
    """Pasted beside a photo, it writes the better photo and its LUT."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shutil.copy(photos / "lake.jpg", tmp_path / "photo.jpg")
    code = code.replace("localhost:8000", f"localhost:{server.port}")
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert "33 default@1" in printed
    with Image.open(tmp_path / "better.jpg") as better:
        assert better.size == (853, 480)
    assert read_cube((tmp_path / "look.cube").read_text()).size == 17


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: page.name
)
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    """A file that only its author has would be a gap for everybody else."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    files = {link.partition("#")[0] for link in links if ":" not in link} - {""}
    assert [file for file in sorted(files) if not (page.parent / file).exists()] == []
