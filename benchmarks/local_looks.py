"""Local models with their maps and without, and their stability while a photograph is panned.

    python -m benchmarks.local_looks PHOTOS INVENTORY.tsv PAIRS [MODEL_FOLDER...]

The models are folders as model_store/NAME/VERSION, of slut, lut4d or gated_slut; the default is the
embedded one. PAIRS is a folder of NAME-input.png and NAME-expert-c.png. The held-out photographs
are damaged as those that validate app/training/recipes/gate.toml. It prints the tables of
docs/local-looks.md, in five minutes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import rgb2lab
from torch import Tensor

from app.luts.apply import prepare
from app.luts.local_lut import AnyLut, LocalLut
from app.networks.base import LutBatch, Network
from app.networks.gated import GatedSlut
from app.networks.lut4d import Lut4D
from app.networks.lut_ops import apply_local, image_places
from app.networks.slut import Slut
from app.networks.store import Model, read_model
from app.policies import STORE
from app.serving.device import to_luts
from app.training.config import read_config
from app.training.data import Photos, read_photo
from app.training.dataset import Batch
from app.training.distil import make_dataset
from app.training.ensemble import Ensemble, Teachers, TeachersConfig
from app.training.evaluation import enhance, mean_de76
from app.training.gate import GateConfig
from app.training.trainer import psnr
from benchmarks.kernel import make_lut, median_ratio, time_rounds
from benchmarks.models import compute_psnr, read_pairs, thumbnail_for
from benchmarks.photos import SIZES, make_mosaic

RECIPE = Path(__file__).parent.parent / "app" / "training" / "recipes" / "gate.toml"
KINDS = {"local": "local light", "recover": "damaged as a whole", "untouched": "untouched"}
BASELINE = STORE / "default" / "2"
EMBEDDED = STORE / "local" / "2"
DRAWS = 4  # of light and damage for each photograph
WORSE = 0.3  # dB
ROUNDS = 7
COUNTS = 2, 10  # LUTs of a look
STEP, CROPS, KEPT = 8, 8, 3 / 4  # pixels between neighbouring crops, and their share of the width
RANKS = (5, 20), (None, None)  # S and W
NETWORKS: dict[str, Callable[[int | None, int | None], Network]] = {
    "slut, T = 3, M = 10, L = 1 (the paper's sizes)": lambda s, w: Slut(3, 10, s, w, levels=1),
    "slut, T = 24, M = 2, L = 8 (`local.toml`)": lambda s, w: Slut(24, 2, s, w, colours=32),
    "lut4d, N = 3, L = 1 (the paper's sizes)": lambda s, w: Lut4D(3, s, w, levels=1),
    "lut4d, N = 3, L = 8 (`lut4d.toml`)": lambda s, w: Lut4D(3, s, w, colours=32),
}

Predict: TypeAlias = Callable[[Tensor], LutBatch]  # thumbnails to tables


def first_alone(network: Network, thumbnails: Tensor) -> LutBatch:
    """Set the map to zero everywhere: the context 0, or the first category."""
    return LutBatch(network(thumbnails).table[:, :3])


def without_places(network: Network, thumbnails: Tensor) -> LutBatch:
    """Give all places the mean of the map: a share then depends on luma alone."""
    tables: LutBatch = network(thumbnails)
    if tables.maps is None:
        return tables
    return tables._replace(maps=tables.maps.mean(dim=(3, 4), keepdim=True).expand_as(tables.maps))


def variants_of(model: Model) -> Iterator[tuple[str, Predict]]:
    """Yield the ways to use a model, by what is said of them."""
    network, name = model.network, model.card.model_ref
    if not network.is_local:
        yield f"{name} (M = 1)", network
        return
    yield f"**{name}**, map on", network
    yield f"{name}, the mean of the map at all places", partial(without_places, network)
    yield f"{name}, map off: its first LUT", partial(first_alone, network)
    if isinstance(network, GatedSlut):
        yield "its sLUT without the gate, map on", network.local
        yield "its sLUT without the gate, map off", partial(first_alone, network.local)


@torch.no_grad()
def measure_pairs(model: Model, predict: Predict, folder: Path) -> float:
    """Return the mean PSNR in dB over the pairs, on full-size pixels."""
    scores = []
    for photo, target in read_pairs(folder):
        thumbnail = torch.from_numpy(thumbnail_for(photo, model))[None]
        colours = torch.from_numpy(photo / np.float32(255)).view(1, -1, 3)
        output = apply_local(predict(thumbnail), colours, image_places(*photo.shape[:2]))
        levels = output.clamp(0.0, 1.0).mul(255.0).round().view(photo.shape).numpy()
        scores.append(compute_psnr(levels, target))
    return statistics.mean(scores)


@torch.no_grad()
def time_luts(variants: list[tuple[Model, Predict]]) -> list[float]:
    """Return the milliseconds of the LUT of each variant on 12 MP, on one thread."""
    photo, works = make_mosaic(*SIZES[12]), {}
    for index, (model, predict) in enumerate(variants):
        (lut,) = to_luts(predict(torch.from_numpy(thumbnail_for(photo, model))[None]))
        works[str(index)] = prepare(lut, "tetrahedral", np.uint8).apply
    return [statistics.median(taken) for taken in time_rounds(works, photo, ROUNDS).values()]


def print_ablation(models: list[Model], held_out: dict[str, list[Batch]], pairs: Path) -> None:
    """Print the PSNR and the time of all variants of all models."""
    rows = [(model, *variant) for model in models for variant in variants_of(model)]
    times = time_luts([(model, predict) for model, _, predict in rows])
    print(f"| LUTs | {' | '.join(KINDS.values())} | pairs, dB | LUT on 12 MP, ms |")
    print(f"| --- |{' ---: |' * (len(KINDS) + 2)}")
    for (model, name, predict), taken in zip(rows, times, strict=True):
        scores = [psnr(predict, held_out[kind]) for kind in KINDS]
        scores.append(measure_pairs(model, predict, pairs))
        print(f"| {name} | {' | '.join(f'{it:.2f}' for it in scores)} | {taken:.0f} |", flush=True)


@torch.no_grad()
def print_losses(models: list[Model], draws: dict[str, list[Batch]]) -> None:
    """Print by how much each model is better than the first, and how often it is worse."""
    print(f"| model | {' | '.join(f'{it}, dB | worse by {WORSE}' for it in KINDS.values())} |")
    print(f"| --- |{' ---: |' * (2 * len(KINDS))}")
    scores = [
        {kind: np.array([psnr(it.network, [one]) for one in draws[kind]]) for kind in KINDS}
        for it in models
    ]
    for model, found in zip(models[1:], scores[1:], strict=True):
        cells = []
        for kind in KINDS:
            gains = found[kind] - scores[0][kind]
            cells += [f"{gains.mean():+.2f}", f"{100 * (gains < -WORSE).mean():.0f} %"]
        print(f"| {model.card.model_ref} | {' | '.join(cells)} |", flush=True)


def print_parameters() -> None:
    """Print the learned parameters of both methods, with compressed LUTs and with plain ones."""
    print("| network | parameters | without compression |")
    print("| --- | ---: | ---: |")
    for name, make in NETWORKS.items():
        counts = (sum(it.numel() for it in make(*ranks).parameters()) for ranks in RANKS)
        print(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |")


def print_kernel() -> None:
    """Print the processor time of K LUTs, all with a share everywhere, relative to one."""
    look, photo, rng = make_lut(), make_mosaic(*SIZES[12]), np.random.default_rng(0)
    luts: dict[int, AnyLut] = {1: look}
    for count in COUNTS:
        tables = tuple(look.at_strength(index / count) for index in range(count))
        shares = rng.dirichlet(np.ones(count), (8, 16, 16)).transpose(3, 0, 1, 2)[1:]
        luts[count] = LocalLut(tables, (shares * 255.0).astype(np.uint8))
    works = {str(count): prepare(lut, "tetrahedral", np.uint8).apply for count, lut in luts.items()}
    taken = time_rounds(works, photo, ROUNDS, time.thread_time)
    for count in COUNTS:
        print(f"{count} LUTs: {median_ratio(taken[str(count)], taken['1']):.2f} times one")


def pan(model: Model, photo: NDArray[np.uint8]) -> tuple[float, float]:
    """Pan a crop over a photograph, to the right.

    Returns:
        By how many dE76 more neighbouring crops differ after enhancement than before, pixel by
        pixel of the crops; and by how many dE76 the same point of the scene differs.
    """
    width = min(round(KEPT * photo.shape[1]), photo.shape[1] - STEP * (CROPS - 1))
    ensemble, moved, flicker = Ensemble([model]), [], []
    before: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    for left in range(0, STEP * CROPS, STEP):
        crop = np.ascontiguousarray(photo[:, left : left + width])
        labs = rgb2lab(crop[::2]), rgb2lab(enhance(ensemble, crop)[::2])
        if before is not None:
            own, enhanced = (mean_de76(*both) for both in zip(before, labs, strict=True))
            moved.append(enhanced - own)
            flicker.append(mean_de76(before[1][:, STEP:], labs[1][:, :-STEP]))
        before = labs
    return statistics.mean(moved), statistics.mean(flicker)


def print_panned(models: list[Model], files: list[Path]) -> None:
    """Print the mean and the largest change of each model over the photographs."""
    print("| model | change beyond the input's own | at most | of the same point | at most |")
    print(f"| --- |{' ---: |' * 4}")
    photos = [read_photo(path) for path in files]
    for model in models:
        moved, same = zip(*(pan(model, photo) for photo in photos), strict=True)
        figures = statistics.mean(moved), max(moved), statistics.mean(same), max(same)
        name = model.card.model_ref
        print(f"| {name} | {' | '.join(f'{it:.2f}' for it in figures)} |", flush=True)


def read_gate_recipe(folder: Path, inventory: Path) -> tuple[GateConfig, Photos]:
    """Read the recipe of the gate, and find its photographs in a folder."""
    config = read_config(RECIPE, GateConfig)
    found = config.photos.model_copy(update={"folder": folder, "inventory": inventory})
    return config, Photos(found)


def main(folder: Path, inventory: Path, pairs: Path, *places: Path) -> None:
    """Print both tables."""
    config, photos = read_gate_recipe(folder, inventory)
    teachers = Teachers(TeachersConfig(store=STORE, models={"default@2": 1.0}))
    models = [read_model(BASELINE), *map(read_model, places or [EMBEDDED])]
    with TemporaryDirectory() as cache:
        dataset = make_dataset(config, photos, teachers, Path(cache))
    rng = np.random.default_rng(1)
    drawn = [dataset.validation(photos.held_out, rng) for _ in range(DRAWS)]
    held_out = dataset.held_out
    print(f"{len(photos.held_out)} held-out photographs, mean PSNR in dB\n")
    print_ablation(models, held_out, pairs)
    print(f"\nBeside {models[0].card.model_ref}, over {DRAWS} lights or damages of each\n")
    print_losses(models, {kind: [it for some in drawn for it in some[kind]] for kind in KINDS})
    print(f"\nCrops panned by {STEP} pixels, mean dE76\n")
    print_panned(models, photos.held_out)
    print()
    print_kernel()
    print()
    print_parameters()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
