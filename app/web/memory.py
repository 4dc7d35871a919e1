"""How much memory the process may take."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)


def memory_limit() -> float:
    """Bytes: what the container's cgroup allows, or else what the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(_limit(path) for path in CGROUP_LIMITS if path.exists())])


def _limit(path: Path) -> float:
    text = path.read_text().strip()
    return math.inf if text == "max" else int(text)
