"""Looks: predicted for an image, or rebuilt from a look token."""

from __future__ import annotations

import numpy as np

from app.errors import BadParameter, CorruptedLook
from app.luts.token import LookToken
from app.networks.store import Model
from app.serving.device import Prediction
from app.serving.model_runners import ModelRunners
from app.serving.results import Look

MAX_TABLE_VALUE = 100.0  # the codes of forged tokens must not reach values that overflow


def find_token_model(models: ModelRunners, token: str) -> tuple[Model, LookToken]:
    """Read a look token, and find the model that made it.

    Raises:
        MalformedLook, TruncatedLook, CorruptedLook: the token is not whole.
        UnknownLook: its model is not served.
    """
    content = LookToken.decode(token)
    model = models.registry.get_by_fingerprint(content.fingerprint)
    if content.code.size != model.network.code_size:
        raise CorruptedLook(
            f"The token holds {content.code.size} numbers; "
            f"{model.card.model_ref} takes {model.network.code_size}."
        )
    return model, content


async def rebuild_look(models: ModelRunners, token: str) -> Look:
    """Rebuild the look of a token.

    Raises:
        CorruptedLook: the numbers of the token are out of range.
        Problem: as `find_token_model`.
    """
    model, content = find_token_model(models, token)
    await models.wait_until_warm()
    try:
        lut = await models.device.decode(model.network, content.code)
    except ValueError as error:  # the numbers overflow
        raise CorruptedLook(f"The token's numbers make no LUT: {error}.") from error
    if np.abs(lut.table).max() > MAX_TABLE_VALUE:
        raise CorruptedLook("The token's numbers make no LUT: its entries are out of range.")
    return Look(model.card, token, lut)


def check_model_of_look(models: ModelRunners, look: Look, model: str | None) -> None:
    """Check that a look belongs to a model that was asked for as well.

    Raises:
        UnknownModel: there is no such model.
        BadParameter: the look was made by another model.
    """
    if model is None:
        return
    if models.registry.get(model).card.fingerprint != look.card.fingerprint:
        raise BadParameter(
            f"model={model} does not match the model of this look, {look.card.model_ref}."
        )


def to_look(model: Model, prediction: Prediction) -> Look:
    """Name a predicted LUT by its look token."""
    token = LookToken(model.card.fingerprint, prediction.code)
    return Look(model.card, token.encode(half=model.network.half_codes), prediction.lut)
