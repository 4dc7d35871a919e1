"""The compressed representation of the basis LUTs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.errors import BadModel
from app.networks.base import Checkpoint, identity_table
from app.networks.clutnet import ClutNet
from tests.helpers.networks import make_clutnet, to_published

FORMS = [(5, 10), (5, None), (None, 10), (None, None)]
D = 9


@pytest.mark.parametrize(("s", "w"), FORMS)
def test_mixing_compressed_bases_equals_mixing_full_ones(s: int | None, w: int | None) -> None:
    """Mixing psi and expanding once equals expanding every basis LUT and mixing the results."""
    network = make_clutnet(s, w)
    codes = torch.randn(3, 4)
    mixed = identity_table(D) + torch.einsum("bn,nczyx->bczyx", codes, network.basis())
    torch.testing.assert_close(network.decode(codes).table, mixed, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("s", "w"), FORMS)
def test_all_published_forms_are_read(s: int | None, w: int | None, tmp_path: Path) -> None:
    """Each of the four published layouts restores the network; the sizes are inferred."""
    network = make_clutnet(s, w)
    torch.save(to_published(network), tmp_path / "network.pth")
    read = ClutNet.from_checkpoint(Checkpoint.read([tmp_path / "network.pth"]))
    assert read.hparams == {"n": 4, "s": s, "w": w, "d": D}
    codes = torch.randn(2, 4)
    torch.testing.assert_close(read.decode(codes).table, network.decode(codes).table)


def test_a_code_of_zeros_is_the_identity() -> None:
    """The table is a residual, so a code of zeros decodes to the identity."""
    table = make_clutnet(5, 10).decode(torch.zeros(1, 4)).table
    torch.testing.assert_close(table[0], identity_table(D))


def test_s_is_the_rank_along_the_own_axis() -> None:
    """With S = 1, the residual has rank 1 along the own axis of each channel, for any W."""
    network = make_clutnet(1, None)
    residual = network.basis()[0]
    for channel, own in ((0, 3), (1, 2), (2, 1)):  # axes [channel][b][g][r]
        unfolded = residual[channel].movedim(own - 1, 0).flatten(1)
        assert torch.linalg.matrix_rank(unfolded) == 1


@pytest.mark.parametrize(("w", "total", "lut_part"), [(10, 278_651, 14_055), (20, 292_541, None)])
def test_published_parameter_counts(w: int, total: int, lut_part: int | None) -> None:
    """20+05+10 and 20+05+20 have the parameter counts of the paper."""
    network = ClutNet(n=20, s=5, w=w)
    assert sum(parameter.numel() for parameter in network.parameters()) == total
    luts = sum(p.numel() for p in (network.psi, network.strong, network.weak))
    if lut_part:
        assert luts == lut_part
    else:
        assert round(luts, -3) == 28_000


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("classifier.3.bias"), "classifier.3.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(2)), "tensor extra"),
        (
            lambda state: state.update({"CLUTs.LUTs": torch.zeros(7, 10)}),
            r"CLUTs.LUTs has shape \(7, 10\), expected \(60, 10\)",
        ),
        (lambda state: state["CLUTs.s_Layers"].fill_(torch.nan), "CLUTs.s_Layers holds NaN"),
    ],
)
def test_errors_name_the_tensor(change, named: str) -> None:
    """A missing, surplus, misshapen or non-finite tensor is rejected by its name."""
    state = to_published(make_clutnet(5, 10))
    change(state)
    with pytest.raises(BadModel, match=named):
        ClutNet.from_checkpoint(Checkpoint(state))


def test_features_of_the_colours_do_not_depend_on_where_they_are() -> None:
    """Moved pixels change the features of the backbone, and none of those of the colours."""
    torch.manual_seed(0)
    network = ClutNet(n=2, s=2, w=3, d=5, colours=4).eval()
    thumbnails = torch.rand(1, 3, 32, 32).repeat_interleave(8, 2).repeat_interleave(8, 3)
    features = network.features(thumbnails)
    mirrored = network.features(thumbnails.flip(3))
    assert features.shape == (1, 132, 8, 8)
    torch.testing.assert_close(features[:, 128:], mirrored[:, 128:])
    assert not torch.allclose(features[:, :128], mirrored[:, :128], atol=0.01)
    brighter = network.features(thumbnails / 2 + 0.5)
    assert not torch.allclose(features[:, 128:], brighter[:, 128:], atol=0.01)


def test_restraint_reduces_looks_by_their_size() -> None:
    """A look is multiplied by r^2 / (r^2 + k^2), r the RMS of its change at the lattice points."""
    plain = make_clutnet(5, 10)
    network = ClutNet(4, 5, 10, D, restraint=0.02)
    network.load_state_dict(network.state_dict() | plain.state_dict())
    network.set_restraint()
    thumbnails = torch.rand(3, 3, 256, 256)
    before, after = plain.encode(thumbnails), network.encode(thumbnails)
    changes = (plain.decode(before).table - identity_table(D)).flatten(1)
    squares = changes.square().mean(dim=1, keepdim=True)
    torch.testing.assert_close(after, before * squares / (squares + 0.02**2), rtol=1e-4, atol=1e-6)
