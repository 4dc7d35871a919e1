"""The clients of docs/clients.md that can run here, compared with the service."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import launching, needs_chromium, visiting
from tests.helpers.oracles import needs_imagemagick
from tests.helpers.paths import ROOT
from tests.helpers.server import Server

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/clients.md").read_text()
LEVELS = 2  # of 255, mean; JPEG decoders and 8-bit HALDs round differently

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="there is no ffmpeg: apt-get install ffmpeg"
)


def section(heading: str, language: str) -> str:
    """Return the code in a language below a heading of docs/clients.md."""
    _, _, text = PAGE.partition(f"\n## {heading}\n")
    found = re.search(rf"```{language}\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    "heading",
    [
        pytest.param("ffmpeg", marks=needs_ffmpeg),
        pytest.param("ImageMagick", marks=needs_imagemagick),
    ],
)
def test_commands(server: Server, photos: Path, tmp_path: Path, heading: str) -> None:
    """The commands make the photo that the service makes."""
    shutil.copy(photos / "otters.jpg", tmp_path / "photo.jpg")
    commands = section(heading, "bash").replace("localhost:8000", f"127.0.0.1:{server.port}")
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, check=True, timeout=120)
    outputs = [*tmp_path.glob(f"{heading.lower()}-*.png")]
    assert len(outputs) == commands.count(f"{heading.lower()}-")
    response = server.client.post(
        "/enhance", params={"format": "png"}, content=(photos / "otters.jpg").read_bytes()
    )
    (tmp_path / "expected.png").write_bytes(response.content)
    expected = read(tmp_path / "expected.png")
    assert np.abs(read(photos / "otters.jpg") - expected).mean() > 2 * LEVELS
    for output in outputs:
        assert np.abs(read(output) - expected).mean() < LEVELS, output.name


def read(file: Path) -> np.ndarray:
    """Read an image as (H, W, 3) of 8-bit levels."""
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@needs_chromium
def test_shader(server: Server) -> None:
    """The fragment shader for OpenGL ES 3 compiles as WebGL2, which is based on it."""
    source = section("Android: OpenGL ES 3", "glsl")
    address = f"http://127.0.0.1:{server.port}/livez"
    with launching() as browser, visiting(browser, address) as page:
        log = page.evaluate(
            """(source) => {
              const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
              const shader = gl.createShader(gl.FRAGMENT_SHADER);
              gl.shaderSource(shader, source);
              gl.compileShader(shader);
              const compiled = gl.getShaderParameter(shader, gl.COMPILE_STATUS);
              return compiled || gl.getShaderInfoLog(shader);
            }""",
            source,
        )
    assert log is True
