"""The clients of docs/clients.md that can run here, compared with the service."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import launching, needs_chromium, visiting
from tests.helpers.clut_js import decode, run
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
    photo = darken(photos / "otters.jpg")  # so that its look is far from none
    (tmp_path / "photo.jpg").write_bytes(photo)
    commands = section(heading, "bash").replace("localhost:8000", f"127.0.0.1:{server.port}")
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, check=True, timeout=120)
    outputs = [*tmp_path.glob(f"{heading.lower()}-*.png")]
    assert len(outputs) == commands.count(f"{heading.lower()}-")
    response = server.client.post("/enhance", params={"format": "png"}, content=photo)
    (tmp_path / "expected.png").write_bytes(response.content)
    expected = read(tmp_path / "expected.png")
    assert np.abs(read(tmp_path / "photo.jpg") - expected).mean() > 2 * LEVELS
    for output in outputs:
        assert np.abs(read(output) - expected).mean() < LEVELS, output.name


def darken(file: Path) -> bytes:
    """Return a photo as a JPEG of four fifths of its levels."""
    darker = io.BytesIO()
    with Image.open(file) as image:
        image.point(lambda level: level * 4 // 5).save(darker, "JPEG", quality=95)
    return darker.getvalue()


def read(file: Path) -> np.ndarray:
    """Read an image as (H, W, 3) of 8-bit levels."""
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


DRAW = """
  const [VERTICES, FRAGMENTS] = [
    `#version 300 es
    out vec2 place;
    void main() {
      place = vec2(gl_VertexID & 1, gl_VertexID >> 1);
      gl_Position = vec4(place.x * 2.0 - 1.0, 1.0 - place.y * 2.0, 0.0, 1.0);
    }`,
    argument.shader,
  ];
  const image = await clut.decodeImage(read(argument.photo));
  const canvas = new OffscreenCanvas(image.width, image.height);
  const gl = canvas.getContext("webgl2", { premultipliedAlpha: false });
  const program = clut.createProgram(gl, VERTICES, FRAGMENTS);
  gl.useProgram(program);
  gl.activeTexture(gl.TEXTURE1);
  const file = await read(argument.lut).arrayBuffer();
  const size = new DataView(file).getInt16(6, true);
  gl.bindTexture(gl.TEXTURE_3D, gl.createTexture());
  gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) {
    gl.texParameteri(gl.TEXTURE_3D, side, gl.CLAMP_TO_EDGE);
  }
  const texels = new Uint16Array(file, 16);
  const shape = [size, size, size, 0];
  gl.texImage3D(gl.TEXTURE_3D, 0, gl.RGBA16F, ...shape, gl.RGBA, gl.HALF_FLOAT, texels);
  gl.activeTexture(gl.TEXTURE0);
  clut.createImageTexture(gl, image);
  gl.uniform1i(gl.getUniformLocation(program, "lut"), 1);
  gl.uniform1f(gl.getUniformLocation(program, "strength"), 1);
  gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  return write(await canvas.convertToBlob({ type: "image/png" }));
"""


@needs_chromium
def test_shader(server: Server, photos: Path) -> None:
    """The code for OpenGL ES 3, as WebGL2, which is based on it, draws what the service makes."""
    photo = darken(photos / "otters.jpg")
    response = server.client.post("/enhance", params={"format": "png"}, content=photo)
    lut = server.client.get(f"/lut/{response.headers['x-look']}", params={"format": "bin"})
    shader = section("Android: OpenGL ES 3", "glsl")
    address = f"http://127.0.0.1:{server.port}/"
    with launching() as browser, visiting(browser, address) as page:
        drawn = run(page, DRAW, shader=shader, photo=photo, lut=lut.content)
    expected = decode(response.content).astype(int)
    assert np.abs(decode(photo) - expected).mean() > 2 * LEVELS
    assert np.abs(decode(base64.b64decode(drawn)) - expected).mean() < LEVELS
