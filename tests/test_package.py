"""The wheel: what it contains, and that it serves without a clone."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.helpers.paths import ROOT
from tests.helpers.server import serving

pytestmark = pytest.mark.slow

SOURCES = ("app", "model_store", "pyproject.toml", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from a copy, so that no build folder is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    # An imported model is its user's, with a licence of its own.
    shutil.copytree(source / "model_store/default", source / "model_store/imported")
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of a new environment with the wheel and the tests' dependencies.

    The dependencies come from the environment of the tests through a .pth file, whose folders come
    after the new environment's own: `app` is the wheel's.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    pip("--python", python, "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def pip(*arguments: object) -> None:
    """Run pip outside of the checkout."""
    command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
    subprocess.run(command, check=True, cwd="/", timeout=200)


def without_checkout() -> dict[str, str]:
    """Return the environment variables without those that make the checkout importable."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_contents(wheel: Path) -> None:
    """The wheel has the embedded model, licence and notice; no imported model, no tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (information,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        licence = archive.read(f"{information}/licenses/LICENSE").decode()
        metadata = archive.read(f"{information}/METADATA").decode()
    assert "Apache License" in licence
    assert "License-Expression: Apache-2.0" in metadata
    assert f"{information}/licenses/NOTICE" in names
    assert "model_store/default/2/weights.safetensors" in names
    assert not [name for name in names if name.startswith("model_store/imported")]
    assert "app/training/recipes/default.toml" in names
    assert {"app/web/static/index.html", "app/web/static/page/main.js"} <= names
    assert {name.split("/")[0] for name in names} == {"app", "model_store", information}


def test_serve(
    installed: Path, dim: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`clut-enhance serve` from the wheel enhances a photo with the embedded model."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    with serving(program=[str(installed / "clut-enhance")]) as server:
        response = server.client.post("/enhance", content=dim)
        models = server.client.get("/models").json()["models"]
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "image/jpeg"
    embedded = {folder.name for folder in (ROOT / "model_store").iterdir() if folder.is_dir()}
    assert {model["name"] for model in models} <= embedded
    assert "default" in {model["name"] for model in models}
    with Image.open(io.BytesIO(dim)) as before, Image.open(io.BytesIO(response.content)) as after:
        after.load()
        assert (after.format, after.size) == ("JPEG", before.size)
        difference = ImageChops.difference(before.convert("RGB"), after)
    assert max(ImageStat.Stat(difference).mean) > 2  # it was enhanced, not copied


def test_the_installed_package_is_used(installed: Path, tmp_path: Path) -> None:
    """The environment imports `app` from the wheel, and every module of it is there."""
    code = "import app, sys; print(app.__path__[0])"
    printed = subprocess.run(
        [installed / "python", "-c", code],
        env=without_checkout(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    packaged = Path(printed)
    assert packaged.is_relative_to(installed.parent)
    expected = {path.relative_to(ROOT / "app") for path in (ROOT / "app").rglob("*.py")}
    assert {path.relative_to(packaged) for path in packaged.rglob("*.py")} == expected


def test_the_ray_application_is_importable(installed: Path, tmp_path: Path) -> None:
    """Ray Serve finds the application in the wheel."""
    code = "from app.ray_app import application; print(application({}).__class__.__name__)"
    printed = subprocess.run(
        [installed / "python", "-W", "ignore", "-c", code],
        env=without_checkout() | {"CLUT_AUTH_ALLOW_ANONYMOUS": "true"},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed == "Application\n"
