"""Print most tables of docs/performance.md: `python -m benchmarks [--quick]`.

All rounds take 15 minutes, `--quick` takes 2. Other load on the machine distorts the figures.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path

from loky import cpu_count

from benchmarks import (
    floor,
    formats,
    kernel,
    latency,
    luts,
    memory,
    scaling,
    service,
    start,
)

PLOT = Path(__file__).parent.parent / "docs" / "scaling.png"


def describe_machine() -> str:
    """Return the processor, the number of usable cores, and the system."""
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    }
    return f"{', '.join(models)}, {cpu_count()} cores, {platform.platform()}"


def main(quick: bool) -> None:
    """Print every table under its heading."""
    print(f"{describe_machine()}, Python {platform.python_version()}")
    tables: dict[str, Callable[[], None]] = {
        "Kernel": lambda: kernel.main(quick),
        "Service": lambda: service.main(quick),
        "Codec floor": lambda: floor.main(quick),
        "LUTs": lambda: luts.main(quick),
        "Latency": lambda: latency.main(quick),
        "Memory": lambda: memory.main(quick),
        "Start": lambda: start.main(quick),
        "Scaling": lambda: scaling.main(Path("/dev/null") if quick else PLOT, quick),
        "Formats": lambda: formats.main(quick),
    }
    for heading, table in tables.items():
        print(f"\n## {heading}\n", flush=True)
        table()


if __name__ == "__main__":
    main("--quick" in sys.argv)
