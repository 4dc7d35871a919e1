from __future__ import annotations

import pytest
from PIL import Image

from app.networks.base import ThumbnailRecipe
from app.networks.registry import import_checkpoint
from app.networks.store import read_model, read_store, write_model
from app.policies import STORE
from app.training.ensemble import Ensemble
from app.training.evaluate import evaluate


def test_each_test_pair_has_its_score(pairs, teacher):
    """Given dark inputs and a network that brightens, the answers are nearer than the inputs."""
    report = evaluate(Ensemble([teacher]), pairs)

    assert list(report.scores) == ["sunset", "tea-gardens"]
    assert report.mean.psnr == pytest.approx(sum(it.psnr for it in report.scores.values()) / 2)
    assert report.mean.psnr > 15


def test_a_contact_sheet_shows_input_answer_and_target(pairs, teacher, tmp_path):
    """Given two pairs, the sheet has two rows of three, and dark inputs on the left."""
    evaluate(Ensemble([teacher]), pairs, sheet=tmp_path / "sheet.png")

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 360, 2 * 240)
        means = [
            sum(sheet.crop((x, 0, x + 240, 240)).resize((1, 1)).getpixel((0, 0)))
            for x in (0, 360, 720)
        ]
    assert means[0] < means[1]
    assert means[0] < means[2]


@pytest.mark.reference
def test_the_published_network_has_its_known_psnr(shared, tmp_path):
    """Given the published CLUT-Net 20+05+10 and the eight pairs, the mean is 29.38 dB."""
    network = import_checkpoint([shared / "weights" / "clutnet-fivek-20+05+10.pth"])
    write_model(
        tmp_path, network, name="it", licence="none", source="", thumbnail=ThumbnailRecipe()
    )

    report = evaluate(Ensemble(read_store(tmp_path)), shared / "pairs")

    assert report.mean.psnr == pytest.approx(29.38, abs=0.02)


@pytest.mark.reference
def test_the_embedded_network_is_worth_serving(shared):
    """Given the eight pairs, of which it has seen none, it is far above the inputs' 18.0 dB."""
    model = read_model(STORE / "default" / "1")

    report = evaluate(Ensemble([model]), shared / "pairs")

    assert report.mean.psnr > 28
