"""Halos of the embedded local model, and its cost beside the default, on an idle machine.

    python -m benchmarks.local_bars

The cost is the processor time of this process for a JPEG of 12 MP, from the decoded image to the
encoded one: another process decodes.
"""

from __future__ import annotations

import asyncio
import statistics
from time import process_time

from app.main import create_service
from app.networks.store import read_model
from app.policies import STORE
from app.serving.options import EnhanceOptions
from app.serving.service import enhance_file
from app.settings import Settings
from app.training.ensemble import Ensemble
from benchmarks.kernel import median_ratio
from benchmarks.photos import make_jpeg
from tests.helpers.halos import measure_overshoot

MODELS = {"default": STORE / "default" / "2", "local": STORE / "local" / "2"}
EDGES = (220, 30), (240, 60), (200, 20), (150, 40)  # levels of the ground and of the figure
ROUNDS = 7


def print_halos() -> None:
    """Print by how much the sides of an edge exceed what they are elsewhere."""
    for name, folder in MODELS.items():
        ensemble = Ensemble([read_model(folder)])
        worst = max(measure_overshoot(ensemble, *edge) for edge in EDGES)
        print(f"{name}: {worst:.1f} levels beyond what the side has elsewhere")


async def print_costs() -> None:
    """Print the processor time of both models."""
    photo = make_jpeg(12)
    seconds: dict[str, list[float]] = {name: [] for name in MODELS}
    async with create_service(Settings()) as service:
        for _ in range(1 + ROUNDS):
            for name, taken in seconds.items():
                begun = process_time()
                await enhance_file(service, photo, EnhanceOptions(model=name))
                taken.append(process_time() - begun)
    turns = {name: taken[1:] for name, taken in seconds.items()}
    for name, taken in turns.items():
        ratio = median_ratio(taken, turns["default"])
        print(f"{name}: {1000 * statistics.median(taken):.0f} ms, {ratio:.2f} times default")


if __name__ == "__main__":
    print_halos()
    asyncio.run(print_costs())
