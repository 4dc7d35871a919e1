"""IAT corrects exposure."""

from __future__ import annotations

import pytest
import torch

from app.errors import BadModel
from app.training.augment import make_degradation
from app.training.data import read_photo
from app.training.iat import Iat


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize(("stops", "share"), [(-2.0, 0.5), (-1.0, 0.7), (1.5, 0.7)])
def test_exposure_is_corrected(shared, photos, stops, share):
    """Given a photograph in wrong exposure, less than a share of the difference is left.

    The authors' outputs are not at hand, so that parity is not tested.
    """
    network = Iat.read(shared / "weights" / "iat-exposure.pth")
    photo = torch.from_numpy(read_photo(photos / "otters.jpg")[::2, ::2].copy())
    photo = photo.permute(2, 0, 1)
    worse = make_degradation(stops=stops)(photo)

    better = network(worse[None])[0]

    before, after = ((it - photo / 255).abs().mean() for it in (worse, better))
    assert after < share * before


def test_sides_that_four_does_not_divide():
    """Given images of 37 x 50 pixels, the outputs have their size, and lie in 0..1."""
    torch.manual_seed(0)

    outputs = Iat()(torch.rand(2, 3, 37, 50))

    assert outputs.shape == (2, 3, 37, 50)
    assert outputs.min() >= 0
    assert outputs.max() <= 1


def test_another_checkpoint_is_rejected(tmp_path):
    """Given a checkpoint with a tensor too many, it is named."""
    torch.save(Iat().state_dict() | {"more": torch.zeros(1)}, tmp_path / "it.pth")

    with pytest.raises(BadModel, match="more"):
        Iat.read(tmp_path / "it.pth")
