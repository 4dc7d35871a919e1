from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from app.errors import BadParameter, UnknownModel
from app.imaging.resize import make_thumbnail
from app.networks.base import LutBatch, ThumbnailRecipe, identity_table
from app.networks.lut_ops import apply_local, trilinear
from app.networks.store import Model
from app.networks.svdlut import SvdLut
from app.training.bpam import Bpam
from app.training.config import new_network
from app.training.ensemble import Ensemble, InverseLook, Teachers, TeachersConfig
from tests.helpers.networks import SMALL, make_network, write_network

BLACK = {
    f"model.{ending}.{kind}": torch.zeros(size)
    for ending, outputs in (("ending", 256), ("ending2", 216))
    for kind, size in (("weight", (outputs, 256, 1, 1)), ("bias", (outputs,)))
}
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def constant(teacher: Model, brightness: float) -> Model:
    """Make a model that maps every colour to the same gray, clamped."""
    network = new_network(n=1, s=None, w=None, d=3, seed=0)
    network.identity.fill_(brightness)
    return Model(teacher.card, network)


def test_the_output_of_one_model(teacher):
    """Given one model, its output to mid gray is the table's: 0.5 + 0.2 + 0.1."""
    colours, places = torch.full((2, 1, 3), 0.5), torch.rand(2, 1, 2)
    output = Ensemble([teacher])(torch.rand(2, 3, 64, 64), colours, places)

    assert output.flatten().tolist() == pytest.approx([0.8] * 6, abs=1e-5)


def test_several_models_are_averaged_by_weight(teacher):
    """Given outputs 0.2 and 0.6 of weights 3 and 1, the mean is 0.3."""
    both = Ensemble([constant(teacher, 0.2), constant(teacher, 0.6)], [3, 1])

    output = both(torch.rand(1, 3, 64, 64), torch.rand(1, 4, 3), torch.rand(1, 4, 2))

    assert output.flatten().tolist() == pytest.approx([0.3] * 12)


def test_each_output_is_clamped_before_they_are_mixed(teacher):
    """Given outputs 2.0 and 0.0, the mean is that of white and black, as users would see them."""
    both = Ensemble([constant(teacher, 2.0), constant(teacher, 0.0)])

    output = both(torch.rand(1, 3, 64, 64), torch.rand(1, 1, 3), torch.rand(1, 1, 2))
    assert output.tolist() == [[[0.5, 0.5, 0.5]]]


def test_a_local_look_depends_on_the_place(teacher):
    """Given a network with a map, a colour's output is that of its place in the image."""
    network = make_network("slut")
    for parameter in (network.psi, network.shares.weight):
        torch.nn.init.normal_(parameter, std=50.0)  # the tables differ, and so do the places
    card = teacher.card.model_copy(update={"thumbnail": ThumbnailRecipe()})
    look = Ensemble([Model(card, network)]).look(PIXELS)
    gray = look(np.full((20, 30, 3), 0.4))

    small = torch.from_numpy(make_thumbnail(PIXELS, 256, False))[None]
    with torch.no_grad():
        tables = network(small)
    for row, column in ((0, 0), (3, 29), (19, 12)):
        place = torch.tensor([[[(column + 0.5) / 30, (row + 0.5) / 20]]])
        expected = apply_local(tables, torch.full((1, 1, 3), 0.4), place)[0, 0].clamp(0, 1)
        assert gray[row, column] == pytest.approx(expected.numpy(), abs=1e-5)
    assert np.ptp(gray[..., 0]) > 1e-3


def test_a_look_maps_colours_of_any_shape(teacher):
    """Given a photo, its look maps arrays of colours, and black and white stay."""
    look = Ensemble([teacher]).look(PIXELS)

    assert look(np.zeros((2, 5, 7, 3))).shape == (2, 5, 7, 3)
    assert look(np.array([[0.0] * 3, [1.0] * 3])) == pytest.approx(
        np.array([[0.0] * 3, [1.0] * 3]), abs=1e-6
    )


def test_models_of_different_thumbnails_cannot_be_averaged(teacher):
    """Given one model with antialiasing and one without, they are rejected."""
    recipe = ThumbnailRecipe(size=64, antialias=True)
    other = Model(teacher.card.model_copy(update={"thumbnail": recipe}), teacher.network)

    with pytest.raises(BadParameter, match="same thumbnail"):
        Ensemble([teacher, other])


def test_bpam_is_averaged_with_the_others(teacher, tmp_path):
    """Given an untrained BPAM, whose output is black, of equal weight: half of the other's."""
    torch.save(Bpam().state_dict() | BLACK, tmp_path / "bpam.pth")
    config = TeachersConfig(
        store=tmp_path / "teachers",
        models={"bright": 1.0},
        pixelwise=[{"network": "bpam", "file": tmp_path / "bpam.pth"}],
    )
    images, indices = torch.full((1, 3, 64, 64), 0.5), torch.arange(7)[None]
    where = images, images, indices, torch.rand(1, 7, 2)

    outputs = Teachers(config).predict(*where)
    guarded = Teachers(config.model_copy(update={"guard": 0.2})).predict(*where)

    assert outputs.flatten().tolist() == pytest.approx([0.4] * 21, abs=1e-5)
    assert guarded.flatten().tolist() == pytest.approx([0.45] * 21, abs=1e-5)


def test_a_pixelwise_network_may_teach_alone(tmp_path):
    """Given no model at all, the output is that of the pixelwise network: black."""
    torch.save(Bpam().state_dict() | BLACK, tmp_path / "bpam.pth")
    alone = {"network": "bpam", "file": tmp_path / "bpam.pth"}
    teachers = Teachers(TeachersConfig(pixelwise=[alone]))
    images, indices = torch.full((1, 3, 64, 64), 0.5), torch.arange(7)[None]

    outputs = teachers.predict(images, images, indices, torch.rand(1, 7, 2))

    assert outputs.flatten().tolist() == [0.0] * 21
    assert teachers.cards == []
    with pytest.raises(ValidationError, match="there must be a model or a pixelwise teacher"):
        TeachersConfig()


def test_a_teacher_that_is_not_there_is_named(teacher, tmp_path):
    """Given a name that the store does not have, it is named; given no store, that is stated."""
    with pytest.raises(UnknownModel, match="wise"):
        Teachers(TeachersConfig(store=tmp_path / "teachers", models={"wise": 1.0}))
    with pytest.raises(BadParameter, match="no models"):
        Teachers(TeachersConfig(store=tmp_path / "nowhere", models={"wise": 1.0}))


def test_an_inverse_look_undoes_a_look():
    """Given a LUT with more contrast, the colours it maps to those of an image are found."""
    lattice = identity_table(17)
    look = (lattice - 0.4) * 1.5 + 0.4  # from -0.2 to 1.3
    pixels = torch.from_numpy(PIXELS).movedim(2, 0).contiguous()

    raw = InverseLook(look)(pixels)

    enhanced = trilinear(LutBatch(look[None]), raw.flatten(1).T[None])[0].T.reshape(pixels.shape)
    assert (enhanced - pixels / 255.0).abs().max() < 0.01  # half a level of `raw`, times 1.5
    assert 0.12 < raw.min() < 0.15  # black is raised,
    assert 0.78 < raw.max() < 0.82  # and there is headroom


def test_teachers_are_inverted_without_their_guard(tmp_path):
    """Given a teacher with a guard, its inverse is that of the same network without one."""
    looks = []
    for guard in (0.0, 0.9):
        torch.manual_seed(0)
        network = SvdLut(**SMALL["svdlut"], guard=guard)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        write_network(tmp_path / str(guard), network)
        teachers = Teachers(TeachersConfig(store=tmp_path / str(guard), models={"a": 1.0}))
        thumbnail = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
        looks.append(teachers.inverse(thumbnail)(torch.from_numpy(PIXELS).movedim(2, 0)))

    assert torch.allclose(*looks, rtol=0, atol=1.1 / 255)  # a level: rounding may differ
    assert (looks[0] - torch.from_numpy(PIXELS).movedim(2, 0) / 255.0).abs().max() > 0.1
