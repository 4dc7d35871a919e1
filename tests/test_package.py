"""The wheel: its content, and the service without a clone."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from functools import cache
from importlib.metadata import Distribution, distribution, distributions, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
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
    """Return the bin folder of a new environment with the wheel and what it requires."""
    return install(wheel, tmp_path_factory.mktemp("environment"), extra="")


@pytest.fixture(scope="module")
def shipped(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Compile the loops as the Dockerfile does; return the environment variables that find them."""
    variables = {
        "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("kernel")),
        "NUMBA_CACHE_LOCATOR_CLASSES": "app.jit.ShippedCacheLocator",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
    }
    assert "data saved" in compile_loops(installed, variables)
    return variables


def compile_loops(installed: Path, variables: dict[str, str]) -> str:
    """Run `compile-kernel`; return what numba says of its cache."""
    return subprocess.run(
        [installed / "clut-enhance", "compile-kernel"],
        env=without_checkout() | variables | {"NUMBA_DEBUG_CACHE": "1"},
        cwd=installed,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def install(wheel: Path, folder: Path, extra: str) -> Path:
    """Install the wheel with one of its extras, or none, in a new environment; return its bin.

    Only the distributions that the wheel requires, and those that they require, are there. They
    are linked from the environment of the tests, in place of a download of half a gigabyte.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    pip("--python", python, "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    (own,) = (it for it in distributions(path=[str(packages)]) if it.name == "clut-enhance")
    for required in required_by(own, extra):
        link(required, packages)
    return folder / "bin"


def required_by(own: Distribution, extra: str) -> list[Distribution]:
    """Return the installed distributions that one requires, directly or not."""
    found: dict[str, Distribution] = {}
    seen = set[tuple[str, str]]()
    waiting = [(own, extra)]
    while waiting:
        parent, chosen = waiting.pop()
        for requirement in map(Requirement, parent.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": chosen}):
                continue
            for further in ("", *requirement.extras):
                if (requirement.name, further) not in seen:
                    seen.add((requirement.name, further))
                    found[requirement.name] = distribution(requirement.name)
                    waiting.append((found[requirement.name], further))
    return list(found.values())


def link(required: Distribution, packages: Path) -> None:
    """Link the files of a distribution; folders that no other one shares as a whole."""
    for file in required.files or ():
        top = file.parts[0]
        if top in ("..", "__pycache__"):
            continue
        name = Path(file) if top in shared_folders() else Path(top)
        target = packages / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(Path(str(required.locate_file(name))))


@cache
def shared_folders() -> frozenset[str]:
    """Return the folders of the environment that several distributions share."""
    owners = packages_distributions().items()
    return frozenset(top for top, names in owners if len(set(names)) > 1)


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


def test_shipped_loops_are_read_and_never_written(installed: Path, shipped: dict[str, str]) -> None:
    """What was compiled for the image is found, and all of it, without a write."""
    read = compile_loops(installed, shipped)
    assert "data loaded" in read
    assert "saved" not in read


def test_serve(
    installed: Path,
    shipped: dict[str, str],
    dim: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`clut-enhance serve` from the wheel enhances a photo with the embedded model."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    with serving(program=[str(installed / "clut-enhance")], environment=shipped) as server:
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


def test_extras_are_not_required(installed: Path, tmp_path: Path) -> None:
    """The environment lacks the packages of the extras: a needed one would be missed."""
    names = ("av", "matplotlib", "onnx", "pi_heif", "ray", "skimage")
    code = f"from importlib.util import find_spec; print([it for it in {names} if find_spec(it)])"
    command = [installed / "python", "-c", code]
    printed = subprocess.run(
        command, env=without_checkout(), cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert printed == "[]\n"


def test_the_ray_application_is_importable(wheel: Path, tmp_path: Path) -> None:
    """Ray Serve finds the application in the wheel with the extra `ray`."""
    installed = install(wheel, tmp_path / "environment", extra="ray")
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
