"""The README: what it says can be pasted does work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from app.luts.cube import read_cube
from tests.conftest import ROOT
from tests.server import serving


def test_the_python_example(photos: Path, tmp_path: Path) -> None:
    """Pasted beside a photo, it writes the better photo and its LUT."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shutil.copy(photos / "lake.jpg", tmp_path / "photo.jpg")
    with serving() as server:
        code = code.replace("localhost:8000", f"localhost:{server.port}")
        printed = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
    assert "33 default@1" in printed
    with Image.open(tmp_path / "better.jpg") as better:
        assert better.size == (853, 480)
    assert read_cube((tmp_path / "look.cube").read_text()).size == 17
