"""Looks: the tokens of codes that were not predicted, but averaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.luts.token import LookToken
from app.networks.slut import Slut
from app.networks.store import Model, read_registry
from app.serving.looks import make_token
from tests.helpers.networks import SMALL, write_network

RNG = np.random.default_rng(0)


def draw_code(model: Model) -> NDArray[np.float32]:
    """Draw a code whose map holds the shares of all tables but the first, in 255ths."""
    network = model.network
    assert network.map_shape is not None
    tables, *grid = network.map_shape
    counts = RNG.multinomial(255, np.full(tables + 1, 1 / (tables + 1)), size=grid)
    counts[..., 0] = 0  # the first table has none: the other shares are 1 in all
    counts[..., -1] = 255 - counts[..., :-1].sum(axis=-1)
    shares = np.moveaxis(counts[..., 1:], -1, 0).ravel() / 255
    weights = np.zeros(network.code_size)
    return np.concatenate((weights, shares)).astype(np.float32)


def test_means_of_maps_make_tokens(tmp_path: Path) -> None:
    """Shares that are halves of levels, rounded up one by one, would exceed 1 in all."""
    write_network(tmp_path, Slut(**SMALL["slut"] | {"m": 5}).eval())
    model = read_registry(tmp_path, "a").get(None)
    mean = (draw_code(model) + draw_code(model)) / 2
    shares = mean[model.network.code_size :].reshape(model.network.map_shape)
    assert np.rint(255 * shares).sum(axis=0).max() > 255

    token = make_token(model, mean)

    assert token.map is not None
    assert token.map.sum(axis=0, dtype=int).max() == 255
    assert np.abs(token.map / 255 - shares).max() < 1.01 / 255
    again = LookToken.decode(token.encode())
    assert again.map is not None
    np.testing.assert_array_equal(again.map, token.map)
