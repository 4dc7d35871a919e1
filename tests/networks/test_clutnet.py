"""The compressed representation of the basis LUTs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from app.errors import BadModel
from app.networks.base import identity_table
from app.networks.checkpoints import Checkpoint
from app.networks.clutnet import ClutNet

FORMS = [(5, 10), (5, None), (None, 10), (None, None)]
D = 9


def random_network(s: int | None, w: int | None) -> ClutNet:
    """A network of one of the four forms, with weights drawn at random."""
    torch.manual_seed(0)
    network = ClutNet(n=4, s=s, w=w, d=D).eval().requires_grad_(requires_grad=False)
    for parameter in (network.psi, network.strong, network.weak):
        if parameter is not None:
            nn.init.normal_(parameter, std=0.1)
    return network


def published(network: ClutNet) -> dict[str, torch.Tensor]:
    """The network as the authors' code would have stored it."""
    n, s, w, d = network.n, network.s, network.w, network.d
    state = {f"backbone.model.{name}": value for name, value in network.trunk.state_dict().items()}
    state |= {
        "classifier.0.weight": network.head[0].weight[:, :, None, None],
        "classifier.0.bias": network.head[0].bias,
        "classifier.3.weight": network.head[2].weight[:, :, None, None],
        "classifier.3.bias": network.head[2].bias,
    }
    if network.strong is not None:
        state["CLUTs.s_Layers"] = network.strong
    if network.weak is not None:
        state["CLUTs.w_Layers"] = network.weak
    if s and w:
        state["CLUTs.LUTs"] = network.psi.reshape(s * n * 3, w)
    elif s:
        state["CLUTs.LUTs"] = network.psi.reshape(s, n * 3 * d * d)
    elif w:
        state["CLUTs.LUTs"] = network.psi.permute(1, 2, 0, 3).reshape(n * 3 * d, w)
    else:
        state["CLUTs.LUTs"] = network.basis()
    return state


@pytest.mark.parametrize(("s", "w"), FORMS)
def test_fusing_compressed_is_fusing_the_basis(s: int | None, w: int | None) -> None:
    """Mixing psi and expanding once equals expanding every basis LUT and mixing these."""
    network = random_network(s, w)
    codes = torch.randn(3, 4)
    mixed = identity_table(D) + torch.einsum("bn,nczyx->bczyx", codes, network.basis())
    torch.testing.assert_close(network.decode(codes).table, mixed, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("s", "w"), FORMS)
def test_all_published_forms_are_read(s: int | None, w: int | None, tmp_path: Path) -> None:
    """Each of the four published layouts gives back the network, its sizes inferred."""
    network = random_network(s, w)
    torch.save(published(network), tmp_path / "network.pth")
    read = ClutNet.from_checkpoint(Checkpoint.read([tmp_path / "network.pth"]))
    assert read.hparams == {"n": 4, "s": s, "w": w, "d": D}
    codes = torch.randn(2, 4)
    torch.testing.assert_close(read.decode(codes).table, network.decode(codes).table)


def test_no_weights_is_the_identity() -> None:
    """The table is a residual: a code of zeros changes nothing."""
    table = random_network(5, 10).decode(torch.zeros(1, 4)).table
    torch.testing.assert_close(table[0], identity_table(D))


def test_the_own_axis_is_the_strong_one() -> None:
    """S = 1 leaves one profile along a channel's own axis, whatever W says of the others."""
    network = random_network(1, None)
    residual = network.basis()[0]
    for channel, own in ((0, 3), (1, 2), (2, 1)):  # axes [channel][b][g][r]
        unfolded = residual[channel].movedim(own - 1, 0).flatten(1)
        assert torch.linalg.matrix_rank(unfolded) == 1


@pytest.mark.parametrize(("w", "total", "lut_part"), [(10, 278_651, 14_055), (20, 292_541, None)])
def test_published_parameter_counts(w: int, total: int, lut_part: int | None) -> None:
    """20+05+10 and 20+05+20 have as many parameters as the paper says."""
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
def test_what_does_not_fit_is_named(change, named: str) -> None:
    """A checkpoint with a missing, surplus, misshapen or broken tensor is refused by its name."""
    state = published(random_network(5, 10))
    change(state)
    with pytest.raises(BadModel, match=named):
        ClutNet.from_checkpoint(Checkpoint(state))
