"""Networks whose tables are mixed by a map of the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.luts.local_lut import LocalLut, Places
from app.luts.lut3d import Lut3D
from app.networks.base import LutBatch, identity_table
from app.networks.clutnet import ClutNet
from app.networks.gated import GatedSlut
from app.networks.lut4d import Lut4D
from app.networks.lut_ops import apply_local, tables_at
from app.networks.slut import Slut
from tests.helpers.networks import LOCAL, make_network

SIZE = 256


@pytest.mark.parametrize("architecture", LOCAL)
def test_a_map_holds_shares(architecture: str) -> None:
    """The shares of the tables but the first lie in 0..1, and so does their sum."""
    network = make_network(architecture)
    with torch.no_grad():
        maps = network(torch.rand(2, 3, SIZE, SIZE)).maps
    assert maps is not None
    assert maps.shape == (2, *network.map_shape)
    assert maps.min() >= 0
    assert maps.sum(dim=1).max() <= 1 + 1e-6


def test_slut_of_one_table_is_a_clutnet() -> None:
    """With M = 1 there is no map, and the weights of a CLUT-Net give its tables."""
    torch.manual_seed(0)
    plain = ClutNet(n=3, s=2, w=3, d=5, colours=2).eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network = Slut(t=3, m=1, s=2, w=3, d=5, colours=2).eval()
    network.load_state_dict(network.state_dict() | plain.state_dict())
    thumbnails = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        tables, expected = network(thumbnails), plain(thumbnails)
    assert tables.maps is None
    torch.testing.assert_close(tables.table, expected.table, rtol=0, atol=1e-5)


def test_the_channels_of_4d_luts_mix() -> None:
    """The code's weights mix basis LUTs and channels, and its biases are added."""
    network = Lut4D(n=2, s=2, w=3, d=5)
    torch.nn.init.normal_(network.psi)
    for matrix in network.matrices:
        torch.nn.init.normal_(matrix)
    code = torch.zeros(1, network.code_size + 8 * 16 * 16)
    code[0, 3 * (2 * 0 + 1) + 2] = 0.5  # to red, from the blue of the second basis LUT
    code[0, network.code_size - 2] = 0.25  # to green
    with torch.no_grad():
        tables = network.decode(code).table.view(2, 3, 5, 5, 5)
        basis = network.basis().view(2, 2, 3, 5, 5, 5)
    for index in range(2):
        expected = identity_table(5)
        expected[0] += 0.5 * basis[1, index, 2]
        expected[1] += 0.25
        torch.testing.assert_close(tables[index], expected)


def test_the_context_has_its_true_gradient() -> None:
    """D out / d C is the difference of the two slices, which the published code has wrong."""
    tables = torch.rand(1, 6, 3, 3, 3)
    maps = torch.full((1, 1, 1, 2, 2), 0.3, requires_grad=True)
    colours, places = torch.rand(1, 7, 3), torch.rand(1, 7, 2)
    apply_local(LutBatch(tables, maps=maps), colours, places).sum().backward()
    zero, one = (apply_local(LutBatch(it), colours, places) for it in tables.split(3, dim=1))
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad.sum(), (one - zero).sum())


def test_torch_mixes_as_numpy_does() -> None:
    """Training and the loops that are compiled have one definition of a map."""
    rng = np.random.default_rng(0)
    tables = rng.random((3, 5, 5, 5, 3)).astype(np.float32)
    cells = rng.integers(0, 128, (2, 3, 4, 6)).astype(np.uint8)
    colours = rng.random((9, 11, 3)).astype(np.float32)
    lut = LocalLut(tuple(map(Lut3D, tables)), cells)
    expected = lut.evaluate(colours, Places.of_image(9, 11))
    batch = LutBatch(
        torch.from_numpy(tables).permute(0, 4, 1, 2, 3).reshape(1, 9, 5, 5, 5),
        maps=torch.from_numpy(cells / 255.0)[None].float(),
    )
    y, x = np.mgrid[:9, :11]
    places = np.stack(((x + 0.5) / 11, (y + 0.5) / 9), axis=-1).reshape(1, -1, 2)
    outputs = apply_local(
        batch, torch.from_numpy(colours).view(1, -1, 3), torch.from_numpy(places).float()
    )
    np.testing.assert_allclose(outputs[0].numpy(), expected.reshape(-1, 3), atol=1e-5)


def test_tables_at_a_place_answer_as_that_place() -> None:
    """At lattice colours the mixed table is the mix of the tables' results."""
    torch.manual_seed(0)
    batch = LutBatch(torch.rand(2, 6, 4, 4, 4), maps=torch.rand(2, 1, 3, 2, 2))
    places = torch.tensor([[0.2, 0.7], [0.9, 0.1]])
    colours = identity_table(4).flatten(1).T.expand(2, -1, -1)
    expected = apply_local(batch, colours, places[:, None].expand(-1, 64, -1))
    table = LutBatch(tables_at(batch, places))
    torch.testing.assert_close(apply_local(table, colours, colours[..., :2]), expected)


@pytest.mark.parametrize("bias", [-40.0, 40.0])
def test_a_gate_shuts_out_one_of_two_networks(bias: float) -> None:
    """A closed gate gives the tables of the global network, an open one those of the local."""
    network = make_network("gated_slut")
    assert isinstance(network, GatedSlut)
    thumbnails = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        network.gate[-1].weight.zero_()
        network.gate[-1].bias.fill_(bias)
        tables = network(thumbnails)
        if bias < 0:
            overall = network.overall(thumbnails).table
            expected = overall.repeat(1, network.local.m, 1, 1, 1)
        else:
            expected = network.local(thumbnails).table
    torch.testing.assert_close(tables.table, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(tables.maps, network.local(thumbnails).maps, rtol=0, atol=1e-5)


def test_a_gate_compares_the_networks_on_the_thumbnail() -> None:
    """The traces are those that the whole thumbnail gives, at every fourth pixel."""
    network = make_network("gated_slut")
    assert isinstance(network, GatedSlut)
    torch.nn.init.normal_(network.local.psi, std=5.0)
    thumbnails = torch.rand(1, 3, SIZE, SIZE)
    pixels = thumbnails[0, :, ::4, ::4].movedim(0, 2)
    y, x = torch.meshgrid(*[(torch.arange(64) + 0.5) / 64] * 2, indexing="ij")
    places = torch.stack((x, y), dim=2).view(1, -1, 2)
    with torch.no_grad():
        _, _, inputs = network.parts(network.features(thumbnails))
        local = apply_local(network.local(thumbnails), pixels.reshape(1, -1, 3), places)
        overall = apply_local(network.overall(thumbnails), pixels.reshape(1, -1, 3), places)
    expected = (local.clamp(0, 1) - overall.clamp(0, 1)).square().mean().sqrt()
    torch.testing.assert_close(inputs[0, -2, 0, 0].exp() - 1e-3, expected, rtol=1e-3, atol=1e-5)
