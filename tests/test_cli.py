"""The command line: the same engine without HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from app.cli import health as health_module
from app.luts.formats.cube import read_cube
from app.settings import Settings
from tests.networks.test_clutnet import make_network, to_published
from tests.server import serving


def run(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """The console script, with CLUT_* settings."""
    environment = os.environ | {f"CLUT_{name}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "app", *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_one_photo(photos: Path, tmp_path: Path) -> None:
    """A file in, a file out; the suffix decides the format."""
    result = run("enhance", photos / "lake.jpg", "-o", tmp_path / "better.webp")
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(tmp_path / "better.webp") as better:
        assert (better.format, better.size) == ("WEBP", (853, 480))


def test_many_photos_and_one_that_fails(photos: Path, tmp_path: Path) -> None:
    """The failure is one line that names the file and the cause; the others are still done."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((photos / "lake.jpg").read_bytes()[:9000])
    inputs = [photos / "lake.jpg", broken, tmp_path / "missing.jpg", photos / "otters.jpg"]
    result = run("enhance", *inputs, "-o", tmp_path / "out")
    assert result.returncode == 1
    lines = sorted(result.stderr.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith(f"{broken}: The image is damaged: ")
    assert lines[1] == f"{tmp_path / 'missing.jpg'}: No such file or directory"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["lake.jpg", "otters.jpg"]


def test_a_photo_is_never_overwritten_by_its_answer(photos: Path, tmp_path: Path) -> None:
    """Enhancing into the photo's own folder is refused, and leaves it as it was."""
    photo = Path(shutil.copy(photos / "lake.jpg", tmp_path))
    result = run("enhance", photo, "-o", tmp_path)
    assert result.returncode == 1
    assert "overwrite" in result.stderr
    assert photo.read_bytes() == (photos / "lake.jpg").read_bytes()


def test_answers_do_not_overwrite_each_other(photos: Path, tmp_path: Path) -> None:
    """Two photos of the same name cannot both be answered into one folder: one says so."""
    (tmp_path / "a").mkdir()
    twin = shutil.copy(photos / "lake.jpg", tmp_path / "a")
    result = run("enhance", photos / "lake.jpg", twin, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "already written for another photograph" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lake.jpg"]


def test_a_lut(photos: Path, tmp_path: Path) -> None:
    """The LUT of a photo as a file."""
    for name in ("look.cube", "look.json"):
        result = run("lut", photos / "lake.jpg", "-o", tmp_path / name)
        assert (result.returncode, result.stderr) == (0, "")
    assert read_cube((tmp_path / "look.cube").read_text()).size == 33
    assert json.loads((tmp_path / "look.json").read_text())["size"] == 33


def test_a_lut_of_another_format(photos: Path, tmp_path: Path) -> None:
    """An option decides where the suffix does not, and what is lost is said."""
    output = tmp_path / "look.cube"
    result = run("lut", photos / "lake.jpg", "-o", output, "--format", "resolve", "--size", 17)
    assert result.returncode == 0
    assert "LUT_3D_INPUT_RANGE" in output.read_text()
    assert result.stderr.startswith(f"{output}: error in 8-bit levels max=")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("enhance", "a.jpg"), "--output"),
        (("enhance", "a.jpg", "-o", "b.gif"), "OUT is a folder"),
        (("lut", "a.jpg", "-o", "b.txt"), "one of .cube, .csp, .clf, .json"),
        (("enhance", "a.jpg", "-o", "b.png", "--strength", "2"), "strength"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage ends with 2 and says what is wrong."""
    result = run(*arguments)
    assert result.returncode == 2
    assert complaint in result.stderr


def test_models_are_imported_listed_and_shown(tmp_path: Path) -> None:
    """A published checkpoint becomes a model of the store."""
    checkpoint, store = tmp_path / "network.pth", tmp_path / "store"
    torch.save(to_published(make_network(5, 10)), checkpoint)
    imported = run(
        "models", "import", checkpoint, "--name", "default", "--licence", "MIT", MODELS_STORE=store
    )
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.startswith("default@1: clutnet, ")
    assert "default@1" in run("models", "list", MODELS_STORE=store).stdout
    card = json.loads(run("models", "show", "default", MODELS_STORE=store).stdout)
    assert (card["hparams"], card["licence"]) == ({"n": 4, "s": 5, "w": 10, "d": 9}, "MIT")


def test_what_is_wrong_at_start_is_one_line(tmp_path: Path) -> None:
    """No default model, an unknown setting, a bad value: one line each, and no traceback."""
    empty = run("serve", MODELS_STORE=tmp_path)
    assert (empty.returncode, len(empty.stderr.splitlines())) == (1, 1)
    assert "There is no model 'default'" in empty.stderr
    assert "CLUT_TYPO: no such setting" in run("serve", TYPO=1).stderr
    assert "CLUT_BATCH_MAX_SIZE: " in run("serve", BATCH_MAX_SIZE=0).stderr


def test_health() -> None:
    """The health check of the image says how the service is, at the port that is set."""

    def health(port: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "app.cli.health"]
        environment = os.environ | {"CLUT_HTTP_PORT": str(port)}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    with serving() as server:
        sound = health(server.port)
    assert (sound.returncode, sound.stdout) == (0, "ready\n")
    gone = health(server.port)
    assert gone.returncode == 1
    assert f":{server.port}/readyz" in gone.stderr


def test_health_is_quick_to_start() -> None:
    """It comes every few seconds, so it loads none of the service's libraries."""
    code = "import sys; import app.cli.health; print(sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "'app.cli.health'" in loaded
    assert "'torch'" not in loaded
    assert "'fastapi'" not in loaded


def test_health_asks_the_default_port() -> None:
    """What it assumes without CLUT_HTTP_PORT is the setting's default."""
    text = Path(health_module.__file__).read_text()
    assert f"'CLUT_HTTP_PORT', '{Settings().http.port}'" in text


def test_a_shipped_kernel_is_read_and_never_written(tmp_path: Path) -> None:
    """What was compiled for the image is found, and all of it, without a write."""
    shipped = {
        "NUMBA_CACHE_DIR": str(tmp_path),
        "NUMBA_CACHE_LOCATOR_CLASSES": "app.numba_cache.ShippedCacheLocator",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_DEBUG_CACHE": "1",
    }
    command = [sys.executable, "-m", "app", "compile-kernel"]
    compiled, read = (
        subprocess.run(
            command, env=os.environ | shipped, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert "data saved" in compiled
    assert "data loaded" in read
    assert "saved" not in read
