from __future__ import annotations

import numpy as np
import pytest
import torch

from app.errors import BadParameter
from app.networks.base import ThumbnailRecipe
from app.networks.store import Model
from app.training.ensemble import Ensemble
from app.training.start import new_network

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def constant(teacher: Model, brightness: float) -> Model:
    """A model that answers every colour with the same gray, clamped."""
    network = new_network(n=1, s=None, w=None, d=3, seed=0)
    network.identity.fill_(brightness)
    return Model(teacher.card, network)


def test_one_model_answers_alone(teacher):
    """Given one model, its answer to mid gray is the table's: 0.5 + 0.2 + 0.1."""
    answer = Ensemble([teacher])(torch.rand(2, 3, 64, 64), torch.full((2, 1, 3), 0.5))

    assert answer.flatten().tolist() == pytest.approx([0.8] * 6, abs=1e-5)


def test_several_models_answer_with_the_weighted_mean(teacher):
    """Given answers 0.2 and 0.6 of weights 3 and 1, the mean is 0.3."""
    both = Ensemble([constant(teacher, 0.2), constant(teacher, 0.6)], [3, 1])

    answer = both(torch.rand(1, 3, 64, 64), torch.rand(1, 4, 3))

    assert answer.flatten().tolist() == pytest.approx([0.3] * 12)


def test_each_answer_is_clamped_before_they_are_mixed(teacher):
    """Given answers 2.0 and 0.0, the mean is that of white and black, as users would see them."""
    both = Ensemble([constant(teacher, 2.0), constant(teacher, 0.0)])

    assert both(torch.rand(1, 3, 64, 64), torch.rand(1, 1, 3)).tolist() == [[[0.5, 0.5, 0.5]]]


def test_a_look_answers_colours_of_any_shape(teacher):
    """Given a photo, its look maps arrays of colours, and black and white stay."""
    look = Ensemble([teacher]).look(PIXELS)

    assert look(np.zeros((2, 5, 7, 3))).shape == (2, 5, 7, 3)
    assert look(np.array([[0.0] * 3, [1.0] * 3])) == pytest.approx(
        np.array([[0.0] * 3, [1.0] * 3]), abs=1e-6
    )


def test_models_that_want_different_thumbnails_cannot_answer_together(teacher):
    """Given one model with antialiasing and one without, they are refused."""
    recipe = ThumbnailRecipe(size=64, antialias=True)
    other = Model(teacher.card.model_copy(update={"thumbnail": recipe}), teacher.network)

    with pytest.raises(BadParameter, match="same thumbnail"):
        Ensemble([teacher, other])


def test_a_lesson_is_the_answer_and_what_was_seen(teacher):
    """Given two models, a lesson has their mean answer and the features of both, by place."""
    both = Ensemble([teacher, constant(teacher, 0.6)])
    thumbnails, colours = torch.rand(2, 3, 64, 64), torch.rand(2, 8, 3)

    answers, features = both.lesson(thumbnails, colours)

    assert torch.allclose(answers, both(thumbnails, colours))
    assert features.shape == (2, 2 * 128, 2, 2)
