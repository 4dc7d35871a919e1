"""Ways to compress LUTs, compared: the same lessons for a network of each."""

from __future__ import annotations

from functools import cached_property
from typing import TypeGuard

from app.errors import BadParameter
from app.networks.base import Network
from app.networks.clutnet import ClutNet
from app.networks.store import Model, ModelCard, read_model, read_store, write_model
from app.training.batch import psnr
from app.training.comparison import Row, write_comparison
from app.training.cost import cost
from app.training.distil import distil
from app.training.ensemble import Ensemble
from app.training.evaluate import evaluate
from app.training.kept import KeptLessons
from app.training.pca import compressed
from app.training.variants import CompareConfig, Variant


def compare(config: CompareConfig) -> list[Row]:
    """Trains what is not trained yet, and writes the report anew after each network.

    Called again after an interruption, it goes on from the last checkpoint. With another recipe
    it wants another folder: but for more steps, what is there is taken as it is.

    Raises:
        Problem: a photo, a teacher, a pair or a checkpoint cannot be read; a loss is not finite.
    """
    students, rows = _Students(config), []
    for name in config.networks:
        rows.append(_row(config, name, students[name]))
        write_comparison(config, rows)
    return rows


class _Students:
    """The networks by name, each made when it is first asked for, once and for all."""

    def __init__(self, config: CompareConfig) -> None:
        self._config, self._store = config, config.distil.store
        finished = (model for model in read_store(self._store) if self._finished(model.card))
        self._ready = {model.card.name: model for model in finished}

    def __getitem__(self, name: str) -> Model:
        if name not in self._ready:
            variant = self._config.networks[name]
            card = self._compressed(name, variant) if variant.pca_of else self._trained(name)
            self._ready[name] = read_model(self._store / name / str(card.version))
        return self._ready[name]

    @cached_property
    def _lessons(self) -> KeptLessons:
        return KeptLessons(self._config.distil, self._config.distil.run / "batches")

    def _finished(self, card: ModelCard) -> bool:
        steps = card.training.get("figures", {}).get("step")
        return bool(steps == self._config.distil.schedule.steps)

    def _trained(self, name: str) -> ModelCard:
        return distil(self._config.recipe(name), self._lessons)

    def _compressed(self, name: str, variant: Variant) -> ModelCard:
        source = self._ready.get(variant.pca_of or "")
        plain = source.network if source else None
        if not (source and _is_plain(plain) and variant.s and variant.w):
            raise BadParameter(f"{name}: PCA makes S and W of plain LUTs that come before it")
        card, network = source.card, compressed(plain, variant.s, variant.w)
        figures = card.training["figures"] | {"psnr": psnr(network, self._lessons.held_out)}
        return write_model(
            self._store,
            network,
            name=name,
            licence=card.licence,
            source=f"The basis of {card.model_ref} after PCA. {card.source}",
            thumbnail=card.thumbnail,
            training=card.training | {"command": "clut-enhance compare", "figures": figures},
        )


def _is_plain(network: Network | None) -> TypeGuard[ClutNet]:
    return isinstance(network, ClutNet) and not network.matrices


def _row(config: CompareConfig, name: str, model: Model) -> Row:
    variant = config.networks[name]
    network = ClutNet(variant.n, variant.s, variant.w, variant.d)
    return Row(
        variant=variant,
        card=model.card,
        cost=cost(network, fixed_matrices=variant.fixed_matrices),
        to_expert=evaluate(Ensemble([model]), config.pairs).mean,
    )
