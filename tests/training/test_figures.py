"""The figures of a model, drawn from real photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.errors import BadParameter
from app.networks.store import read_model
from app.policies import STORE
from app.training.data import photo_files
from app.training.figures import draw_figures
from tests.helpers.networks import make_network, write_network


def test_the_figures_are_drawn(photos: Path, tmp_path: Path) -> None:
    """Three plots in shades of gray, and a sheet with a row for each photograph."""
    files = photo_files(photos)
    written = draw_figures(read_model(STORE / "vivid" / "1"), files, tmp_path / "figures")
    names = ["correlation.png", "basis.png", "weights.png", "sheet.jpg"]
    assert [path.name for path in written] == names
    for path in written[:3]:
        with Image.open(path) as figure:
            pixels = np.asarray(figure.convert("RGB")).astype(int)
        assert pixels.min() < 60  # something is drawn
        assert np.ptp(pixels, axis=2).max() <= 2
    with Image.open(written[3]) as sheet:
        assert sheet.size == (3 * 360, len(files) * 240)


def test_other_architectures_have_no_such_figures(photos: Path, tmp_path: Path) -> None:
    """A network without a compressed basis is rejected by name."""
    write_network(tmp_path, make_network("seplut"))
    with pytest.raises(BadParameter, match="a@1 is no CLUT-Net"):
        draw_figures(read_model(tmp_path / "a" / "1"), photo_files(photos), tmp_path)
