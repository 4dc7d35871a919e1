"""Ablation: the same lessons for networks that compress their LUTs in different ways."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple, Self, TypeGuard

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor

from app.errors import BadParameter
from app.model_files import Name
from app.networks.base import Network
from app.networks.clutnet import ClutNet
from app.networks.store import ModelCard, read_model, read_store, write_model
from app.training.config import NetworkConfig
from app.training.data import Photos
from app.training.distil import DistilConfig, distil, make_dataset
from app.training.ensemble import Ensemble, Teachers
from app.training.evaluation import Score, evaluate
from app.training.trainer import validate

_CHANNELS = 3


class Variant(NetworkConfig):
    """One of the networks.

    Attributes:
        fixed_matrices: as in `DistilConfig`.
        pca_of: a variant before it, with plain LUTs: this one is not trained, but is that one
            with its basis compressed to S and W afterwards.
        seeds: how many seeds it is trained with, where that is not the number of the others.
    """

    fixed_matrices: bool = False
    pca_of: Name | None = None
    seeds: PositiveInt | None = None

    @property
    def shape(self) -> str:
        """N+S+W as the paper writes it, e.g. 20+05+20; -- is not compressed."""
        return "+".join(f"{it:02}" if it else "--" for it in (self.n, self.s, self.w))


class AblationConfig(BaseModel):
    """An ablation.

    Attributes:
        distil: the first network, and how all of them learn.
        variants: the others, by name.
        seeds: how many seeds each is trained with, counted from the seed of the first network.
        pairs: photographs and an expert's versions, for evaluation; see `find_pairs`.
        report: a Markdown file; the plot is put beside it, as PNG.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    distil: DistilConfig
    variants: dict[Name, Variant]
    seeds: PositiveInt = 1
    pairs: Path
    report: Path

    @property
    def networks(self) -> dict[str, Variant]:
        """All networks, by name."""
        shared = self.distil
        first = Variant(**shared.network.model_dump(), fixed_matrices=shared.fixed_matrices)
        return {shared.name: first, **self.variants}

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Names and seeds in the order of training.

        One seed follows the other, so that an unfinished comparison has all networks of a seed.
        Networks with fewer seeds come last.
        """
        counts = {name: variant.seeds or self.seeds for name, variant in self.networks.items()}
        runs = [(name, seed) for seed in range(self.seeds) for name in counts]
        kept = [(name, seed) for name, seed in runs if seed < counts[name]]
        return sorted(kept, key=lambda run: counts[run[0]], reverse=True)

    def recipe(self, name: str, seed: int) -> DistilConfig:
        """Return the recipe of one of the networks for a seed, counted from 0."""
        variant, shared = self.networks[name], self.distil
        # A second difference grows with the square of the step between lattice points, and the
        # loss squares it: on a coarser lattice the same curve would cost more.
        step = (shared.network.d - 1) / (variant.d - 1)
        curvature = shared.losses.curvature / step**4
        return shared.model_copy(
            update={
                "name": f"{name}-seed{seed}",
                "run": shared.run / f"{name}-seed{seed}",
                "seed": shared.seed + seed,
                "network": NetworkConfig(n=variant.n, s=variant.s, w=variant.w, d=variant.d),
                "fixed_matrices": variant.fixed_matrices,
                "losses": shared.losses.model_copy(update={"curvature": curvature}),
            }
        )

    def with_data(
        self, photos: Path | None = None, teachers: Path | None = None, pairs: Path | None = None
    ) -> Self:
        """Return the same ablation for other folders; the inventory lies with the photographs."""
        distil = self.distil
        if photos is not None:
            inventory = distil.photos.inventory and photos / distil.photos.inventory.name
            there = distil.photos.model_copy(update={"folder": photos, "inventory": inventory})
            distil = distil.model_copy(update={"photos": there})
        if teachers is not None:
            there_too = distil.teachers.model_copy(update={"store": teachers})
            distil = distil.model_copy(update={"teachers": there_too})
        return self.model_copy(update={"distil": distil, "pairs": pairs or self.pairs})


class Cost(NamedTuple):
    """Counts of one network.

    Attributes:
        lut_parameters: learned parameters of the basis LUTs, matrices included.
        parameters: learned parameters in all.
        multiply_adds: to mix the basis for one image and to rebuild the table.
    """

    lut_parameters: int
    parameters: int
    multiply_adds: int


class Result(NamedTuple):
    """The results of one network for one seed.

    Attributes:
        name: of the network.
        card: its card, with the distance to the teachers.
        to_expert: the distance to an expert's versions.
        metrics: the lines of the run's metrics.csv; empty for a network that was not trained.
    """

    name: str
    card: ModelCard
    to_expert: Score
    metrics: list[dict[str, float]]

    @property
    def to_teachers(self) -> float:
        """PSNR to the teachers' outputs on held-out photographs, in dB."""
        psnr: float = self.card.training["figures"]["psnr_taught"]
        return psnr


class Students:
    """The networks by name and seed, each trained when it is first needed."""

    def __init__(self, config: AblationConfig) -> None:
        self._config, self._store = config, config.distil.store
        finished = (model for model in read_store(self._store) if self._is_finished(model.card))
        self._ready = {model.card.name: model for model in finished}

    def result(self, name: str, seed: int) -> Result:
        """Train a network if needed, and evaluate it."""
        recipe = self._config.recipe(name, seed)
        if recipe.name not in self._ready:
            source = self._config.networks[name].pca_of
            card = self._compress(recipe, source, seed) if source else self._train(recipe, seed)
            self._ready[recipe.name] = read_model(self._store / recipe.name / str(card.version))
        model = self._ready[recipe.name]
        return Result(
            name=name,
            card=model.card,
            to_expert=evaluate(Ensemble([model]), self._config.pairs).mean,
            metrics=_read_metrics(recipe.run / "metrics.csv"),
        )

    def _cache(self, seed: int) -> Path:
        return self._config.distil.run / f"batches-seed{seed}"

    def _is_finished(self, card: ModelCard) -> bool:
        steps = card.training.get("figures", {}).get("step")
        return bool(steps == self._config.distil.schedule.steps)

    def _train(self, recipe: DistilConfig, seed: int) -> ModelCard:
        return distil(recipe, cache=self._cache(seed))

    def _compress(self, recipe: DistilConfig, source_name: str, seed: int) -> ModelCard:
        source = self._ready.get(self._config.recipe(source_name, seed).name)
        s, w = recipe.network.s, recipe.network.w
        plain = source.network if source else None
        if not (source and _is_plain(plain) and s and w):
            raise BadParameter(f"{recipe.name}: PCA makes S and W of earlier plain LUTs")
        card, network = source.card, compress(plain, s, w)
        dataset = make_dataset(
            recipe, Photos(recipe.photos), Teachers(recipe.teachers), self._cache(seed)
        )
        figures = card.training["figures"] | validate(network, dataset.held_out)
        return write_model(
            self._store,
            network,
            name=recipe.name,
            licence=card.licence,
            source=f"The basis of {card.model_ref} after PCA. {card.source}",
            thumbnail=card.thumbnail,
            training=card.training | {"command": "clut-enhance compare", "figures": figures},
        )


def _read_metrics(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@torch.no_grad()
def compress(network: ClutNet, s: int, w: int) -> ClutNet:
    """Approximate a network's plain LUTs by matrices of rank S and W, without training.

    M_s and M_w are the first principal components of all the columns along the strong axis and
    of all the slices across it: a truncated higher-order SVD (De Lathauwer, De Moor and
    Vandewalle, "A Multilinear Singular Value Decomposition", 2000). The means are not subtracted:
    the compressed representation has no parameters for them.

    Args:
        network: one without S and W.
        s: S, at most D.
        w: W, at most D^2.
    """
    smaller = ClutNet(network.n, s, w, network.d)
    plain = network.psi  # (D, N, 3, D^2)
    strong = _components(plain.flatten(1), s)  # (D, S)
    weak = _components(plain.flatten(0, 2).T, w).T  # (W, D^2)
    psi = torch.einsum("ds,dnct,wt->sncw", strong, plain, weak)
    basis = {"psi": psi, "strong": strong, "weak": weak}
    smaller.load_state_dict(network.state_dict() | basis)
    return smaller.eval()


def count_cost(variant: Variant) -> Cost:
    """Count; fixed matrices are not learned, but they are multiplied by, too."""
    network = ClutNet(variant.n, variant.s, variant.w, variant.d)
    matrices = sum(matrix.numel() for matrix in network.matrices)
    fixed = matrices if variant.fixed_matrices else 0
    return Cost(
        lut_parameters=network.psi.numel() + matrices - fixed,
        parameters=sum(it.numel() for it in network.parameters()) - fixed,
        multiply_adds=multiply_adds(network.n, network.s, network.w, network.d),
    )


def multiply_adds(n: int, s: int | None, w: int | None, d: int) -> int:
    """Count fusing while compressed, then rebuilding: 3 (N S W + S W D^2 + S D^3).

    An axis that is not compressed has D or D^2 in the place of S or W, and no term of its own:
    plain LUTs come to 3 N D^3. Zhang et al., "CLUT-Net", ACM MM 2022, count the same.
    """
    rows, columns = s or d, w or d**2
    fuse = n * rows * columns
    weak = rows * w * d**2 if w else 0
    strong = d * s * d**2 if s else 0
    return _CHANNELS * (fuse + weak + strong)


def _is_plain(network: Network | None) -> TypeGuard[ClutNet]:
    return isinstance(network, ClutNet) and not network.matrices


def _components(columns: Tensor, count: int) -> Tensor:
    """Compute the first principal directions of columns (size, many): orthonormal."""
    directions: Tensor = torch.linalg.svd(columns, full_matrices=False).U
    return directions[:, :count]
