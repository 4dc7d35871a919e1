"""The command line: the same engine without HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.cli import health as health_module
from app.cli.main import COMMANDS, load
from app.luts.formats import LutFormat, formats_by_suffix, read_lut
from app.luts.formats.base import Depth
from app.luts.formats.cube import read_cube, write_cube
from app.luts.lut3d import Lut3D
from app.luts.lut_error import lut_error
from app.policies import STORE
from app.settings import Settings
from tests.helpers.cli import invoke, run
from tests.helpers.networks import make_clutnet, to_published
from tests.helpers.server import Server, free_port


@pytest.mark.slow
def test_one_photo(photos: Path, tmp_path: Path) -> None:
    """A file in, a file out, by a real process; the suffix decides the format."""
    result = run("enhance", photos / "lake.jpg", "-o", tmp_path / "better.webp")
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(tmp_path / "better.webp") as better:
        assert (better.format, better.size) == ("WEBP", (853, 480))


def test_many_photos_and_one_that_fails(photos: Path, tmp_path: Path) -> None:
    """The failure is one line that names the file and the cause; the others are still done."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((photos / "lake.jpg").read_bytes()[:9000])
    inputs = [photos / "lake.jpg", broken, tmp_path / "missing.jpg", photos / "otters.jpg"]
    result = invoke("enhance", *inputs, "-o", tmp_path / "out")
    assert result.returncode == 1
    lines = sorted(result.stderr.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith(f"{broken}: The image is damaged: ")
    assert lines[1] == f"{tmp_path / 'missing.jpg'}: No such file or directory"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["lake.jpg", "otters.jpg"]


def test_no_result_overwrites_its_photo(photos: Path, tmp_path: Path) -> None:
    """Enhancing into the photo's own folder is rejected, and leaves it as it was."""
    photo = Path(shutil.copy(photos / "lake.jpg", tmp_path))
    result = invoke("enhance", photo, "-o", tmp_path)
    assert result.returncode == 1
    assert "overwrite" in result.stderr
    assert photo.read_bytes() == (photos / "lake.jpg").read_bytes()


def test_no_result_overwrites_another(photos: Path, tmp_path: Path) -> None:
    """Of two photos with one name, the second cannot be written into the same folder."""
    (tmp_path / "a").mkdir()
    twin = shutil.copy(photos / "lake.jpg", tmp_path / "a")
    result = invoke("enhance", photos / "lake.jpg", twin, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "already written for another image" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lake.jpg"]


def test_a_lut(photos: Path, tmp_path: Path) -> None:
    """The LUT of a photo as a file."""
    for name in ("look.cube", "look.json"):
        result = invoke("lut", photos / "lake.jpg", "-o", tmp_path / name)
        assert (result.returncode, result.stderr) == (0, "")
    assert read_cube((tmp_path / "look.cube").read_text()).size == 33
    assert json.loads((tmp_path / "look.json").read_text())["size"] == 33


def test_a_lut_of_another_format(photos: Path, tmp_path: Path) -> None:
    """An option decides where the suffix does not, and the loss is printed."""
    output = tmp_path / "look.cube"
    result = invoke("lut", photos / "lake.jpg", "-o", output, "--format", "resolve", "--size", 17)
    assert result.returncode == 0
    assert "LUT_3D_INPUT_RANGE" in output.read_text()
    assert result.stderr.startswith(f"{output}: error in 8-bit levels max=")


def test_converting_a_lut(photos: Path, tmp_path: Path) -> None:
    """A LUT passes through every format; what a conversion loses is printed."""
    first = tmp_path / "look.cube"
    assert invoke("lut", photos / "lake.jpg", "-o", first).returncode == 0
    exact = read_lut(first)
    source = first
    for lut_format in LutFormat:
        target = tmp_path / f"{lut_format}{lut_format.codec.suffix}"
        result = invoke("lut", "convert", source, "-o", target, "--format", lut_format)
        assert result.returncode == 0, result.stderr
        held = lut_format.codec.depths[0] is Depth.FLOAT32
        assert held or result.stderr.startswith(f"{target}: error in 8-bit levels max=")
        assert lut_error(exact, read_lut(target)).mean < 1
        source = target if held else first


def test_converting_with_options(tmp_path: Path) -> None:
    """Size, strength, clamp and title apply as to a predicted LUT."""
    source, target = tmp_path / "bright.cube", tmp_path / "half.clf"
    bright = Lut3D(np.float32(1.5) * Lut3D.identity(5).table)
    source.write_text(write_cube(bright, title="bright"))
    options = ("--size", 9, "--strength", 0.5, "--clamp", "--title", "Half as bright")
    result = invoke("lut", "convert", source, "-o", target, *options)
    assert result.returncode == 0
    assert 'name="Half as bright"' in target.read_text()
    expected = (1.25 * Lut3D.identity(9).table).clip(0, 1)
    np.testing.assert_allclose(read_lut(target).table, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("a.cube", "-o", "b.clf"), "a.cube: line 1: expected three numbers or one of TITLE"),
        (("a.cube", "-o", "a.cube"), "a.cube: OUT would overwrite IN"),
        (("none.cube", "-o", "b.clf"), "none.cube: No such file or directory"),
        (("a.cube", "-o", "b.vlt", "--size", "33"), "size: the format vlt has one of 17."),
        (("a.cube", "-o", "b.clf", "--depth", "uint8"), "depth: the format clf has one of float32"),
        (("a.cube", "-o", "none/b.vlt"), "a.cube: line 1: expected"),
    ],
)
def test_failed_conversions(
    arguments: tuple[str, ...], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is one line, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    Path("a.cube").write_text("hello\n")
    result = invoke("lut", "convert", *arguments)
    assert result.returncode == 1
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.cube"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("enhance", "a.jpg"), "--output"),
        (("enhance", "a.jpg", "-o", "b.bmp"), "OUT is a folder"),
        (("lut", "a.jpg", "-o", "b.txt"), f"one of {', '.join(formats_by_suffix())}"),
        (("lut", "convert", "a.cube", "-o", "b.txt"), "one of .cube, .csp, "),
        (("lut", "convert", "a.cube"), "--output"),
        (("enhance", "a.jpg", "-o", "b.png", "--strength", "2"), "strength"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage exits with 2 and names the fault."""
    result = invoke(*arguments)
    assert result.returncode == 2
    assert complaint in result.stderr


def test_models_are_imported_listed_and_shown(tmp_path: Path) -> None:
    """A published checkpoint becomes a model of the store."""
    checkpoint = tmp_path / "network.pth"
    store = {"CLUT_MODELS_STORE": str(tmp_path / "store")}
    torch.save(to_published(make_clutnet(5, 10)), checkpoint)
    imported = invoke(
        "models", "import", checkpoint, "--name", "default", "--licence", "MIT", **store
    )
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.startswith("default@1: clutnet, ")
    assert "default@1" in invoke("models", "list", **store).stdout
    card = json.loads(invoke("models", "show", "default", **store).stdout)
    assert (card["hparams"], card["licence"]) == ({"n": 4, "s": 5, "w": 10, "d": 9}, "MIT")
    copied = invoke("models", "copy", "default", "--to", "other", **store)
    assert copied.stdout == "other@1: the weights of default@1\n"
    other = json.loads(invoke("models", "show", "other", **store).stdout)
    assert (other["sha256"], other["licence"]) == (card["sha256"], "MIT")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
def test_a_model_is_exported_for_other_runtimes(photos: Path, tmp_path: Path) -> None:
    """The command prints the file, and how far it is from the model on photographs."""
    command = ("models", "export", "vivid", "-o", tmp_path / "vivid.onnx", "--precision")
    half = invoke(*command, "float16", "--photos", photos)
    assert half.returncode == 0, half.stderr
    assert (tmp_path / "vivid.onnx").read_bytes()
    assert half.stdout.startswith("vivid@1: float16, ONNX opset 18, ")
    assert "6 photographs: values differ by at most" in half.stdout
    rejected = invoke(*command, "int8")
    assert rejected.returncode == 1
    assert "name a folder" in rejected.stderr


def test_a_measured_model_has_its_figures_in_the_card(photos: Path, tmp_path: Path) -> None:
    """`measure` writes the distance to an expert, artifacts and recovery into the card."""
    store = tmp_path / "store"
    shutil.copytree(STORE / "vivid", store / "vivid")
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(photos / "lake.jpg") as image:
        small = image.resize((96, 64))
    for name in ("a-input", "a-expert"):
        small.save(folder / f"{name}.png")
    settings = {"CLUT_MODELS_STORE": str(store), "CLUT_MODELS_DEFAULT": "vivid"}

    measured = invoke("measure", "vivid", "--data", folder, "--photos", folder, **settings)

    assert measured.returncode == 0, measured.stderr
    figures = json.loads(invoke("models", "show", "vivid", **settings).stdout)["figures"]
    assert set(figures) == {"expert", "artifacts", "recover"}
    assert 5 < figures["expert"]["psnr"] < 60
    assert figures["recover"]["untouched"] == pytest.approx(figures["expert"]["de76"], rel=0.2)


def test_the_figures_of_a_model(photos: Path, tmp_path: Path) -> None:
    """`figures` draws those of the good photographs of an inventory, and lists the files."""
    inventory = tmp_path / "inventory.tsv"
    rows = ["file\tlicence\tgrade\tstylised", "otters.jpg\tCC0\tB\t"]
    good = ["lake.jpg\tCC0\tA\t", "sunset.jpg\tCC0\tA\t"]
    inventory.write_text("\n".join(rows + good))
    source = ("--photos", photos, "--inventory", inventory)
    drawn = invoke("figures", "default", "-o", tmp_path / "figures", *source)
    assert drawn.returncode == 0, drawn.stderr
    assert [Path(line).name for line in drawn.stdout.split()] == [
        "correlation.png",
        "basis.png",
        "weights.png",
        "sheet.jpg",
    ]
    with Image.open(tmp_path / "figures" / "sheet.jpg") as sheet:
        assert sheet.size == (3 * 360, len(good) * 240)


@pytest.mark.slow
def test_an_error_at_start_is_one_line(tmp_path: Path) -> None:
    """No default model, an unknown setting, a bad value: one line each, and no traceback."""
    empty = run("serve", CLUT_MODELS_STORE=str(tmp_path))
    assert (empty.returncode, len(empty.stderr.splitlines())) == (1, 1)
    assert "There is no model 'default'" in empty.stderr
    assert "CLUT_TYPO: no such setting" in invoke("serve", CLUT_TYPO="1").stderr
    assert "CLUT_BATCH_MAX_SIZE: " in invoke("serve", CLUT_BATCH_MAX_SIZE="0").stderr


def test_summaries() -> None:
    """The list of commands shows the first line of each command's own help."""
    for name, (_, summary) in COMMANDS.items():
        text = load(name).help
        assert text.splitlines()[0] == summary, name


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "app", "--help"),
        ("-m", "app", "settings"),
        ("-m", "app", "keys", "new", "anna", "--scope", "enhance"),
        ("-m", "app", "health"),
        ("-m", "app.cli.health"),
    ],
)
def test_light_commands_load_no_heavy_library(arguments: tuple[str, ...]) -> None:
    """Commands that need no image start quickly: torch alone takes seconds to load."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        env=os.environ | {"CLUT_HTTP_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert loaded & {"app.cli.main", "urllib.request"}
    assert not loaded & {"torch", "numba", "numpy", "PIL", "imagecodecs", "fastapi", "rich"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        (["bulk", "s3://bucket/a", "b"], "fsspec", "bulk"),
        (["evaluate", "default", "--data", "b"], "skimage", "training"),
        (["video", "a.mp4", "-o", "b.mp4"], "av", "video"),
    ],
)
def test_a_missing_extra_is_named(command: list[str], module: str, extra: str) -> None:
    """A command whose libraries are not installed names the extra that installs them."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv = ['clut-enhance', *{command}]; "
        "from app.cli.main import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert f"pip install 'clut-enhance[{extra}]'" in result.stderr


def health(**settings: object) -> subprocess.CompletedProcess[str]:
    """Run the health check as the image does."""
    environment = os.environ | {f"CLUT_{name}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "app.cli.health"],
        env=environment | {"http_proxy": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_health(server: Server) -> None:
    """The health check finds the service at the port that is set, without any proxy."""
    ready = health(HTTP_PORT=server.port)
    any_address = health(HTTP_HOST="0.0.0.0", HTTP_PORT=server.port)  # noqa: S104 -- theirs
    assert (ready.returncode, ready.stdout, ready.stderr) == (0, "ready\n", "")
    assert any_address.returncode == 0


def test_health_where_nothing_listens() -> None:
    """The health check fails, and names the address that it tried."""
    port = free_port()
    stopped = health(HTTP_PORT=port)
    assert stopped.returncode == 1
    assert f":{port}/readyz" in stopped.stderr


def test_health_of_an_address() -> None:
    """A service that listens on one address is checked there, in IPv6 as well."""
    for host, url in [("127.0.0.2", "http://127.0.0.2:1/"), ("::", "http://[::1]:1/")]:
        assert health(HTTP_HOST=host, HTTP_PORT=1).stderr.startswith(url)


def test_health_defaults() -> None:
    """Without CLUT_HTTP_HOST and CLUT_HTTP_PORT the check uses the settings' defaults."""
    text = Path(health_module.__file__).read_text()
    http = Settings().http
    assert f'"CLUT_HTTP_PORT", "{http.port}"' in text.replace("'", '"')
    assert f'"CLUT_HTTP_HOST", "{http.host}"' in text


@pytest.mark.slow
def test_a_terminal_shows_a_progress_bar(photos: Path, tmp_path: Path) -> None:
    """On a terminal, several photos have a bar, and failures are lines above it."""
    (tmp_path / "damaged.jpg").write_bytes(b"no photo")
    inputs = [photos / "lake.jpg", photos / "otters.jpg", tmp_path / "damaged.jpg"]
    command = [sys.executable, "-m", "app", "enhance", *map(str, inputs), "-o", str(tmp_path / "o")]
    master, terminal = pty.openpty()
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(master, "rb") as screen:  # EIO is its end
        while block := os.read(screen.fileno(), 4096):
            shown += block
    assert process.wait(120) == 1
    assert b"3/3" in shown
    assert b"damaged.jpg: " in shown
