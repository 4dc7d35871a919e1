"""BPAM's output is that of its authors' code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.errors import BadModel
from app.training.bpam import Bpam
from tests.helpers.published import read_input, read_result


@pytest.mark.reference
@pytest.mark.parametrize("name", ["a2803", "a2917", "a3102"])
def test_enhanced_image(shared, name):
    """Every pixel is within 1 level of the authors' output."""
    network = Bpam.read(shared / "weights" / "bpam-fivek-retouching.pth")
    image = torch.from_numpy(read_input(shared, name).copy()).permute(2, 0, 1)[None].float() / 255

    levels = network(image)[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()

    assert np.abs(levels - read_result(shared, name, "bpam")).max() <= 1


def test_sides_that_no_stage_divides(tmp_path):
    """Given an image of 37 x 50 pixels, the output has its size."""
    torch.manual_seed(0)

    assert Bpam()(torch.rand(2, 3, 37, 50)).shape == (2, 3, 37, 50)


def test_guides_of_single_pixels_are_read(tmp_path):
    """Given a checkpoint with guides as in that for LCDP, the network is the same."""
    torch.manual_seed(0)
    network = Bpam(simple=True).eval()
    torch.save(network.state_dict(), tmp_path / "it.pth")
    image = torch.rand(1, 3, 32, 32)

    with torch.no_grad():
        torch.testing.assert_close(Bpam.read(tmp_path / "it.pth")(image), network(image))


@pytest.mark.reference
def test_the_checkpoint_for_local_light_lightens_what_is_dark(shared):
    """Of a photograph in the dark, the output is lighter by a half at least."""
    network = Bpam.read(shared / "weights" / "bpam-lcdp.pth")
    pixels = torch.from_numpy(read_input(shared, "a2803").copy()).permute(2, 0, 1)[None]
    dark = pixels.float() / 255 / 4

    assert network(dark).mean() > 1.5 * dark.mean()


def test_another_checkpoint_is_rejected(tmp_path):
    """Given a checkpoint with a tensor too few, it is named."""
    state = Bpam().state_dict()
    del state["model.intro.bias"]
    torch.save(state, tmp_path / "it.pth")

    with pytest.raises(BadModel, match=r"model\.intro\.bias is missing"):
        Bpam.read(tmp_path / "it.pth")
