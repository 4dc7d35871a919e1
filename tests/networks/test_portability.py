"""Figures that may not depend on the processor by more than rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.networks.store import read_registry
from app.policies import STORE
from tests.helpers.processors import PROCESSORS
from tests.helpers.tolerances import TABLE

pytestmark = pytest.mark.slow

PRINTED = 1e-6  # half a step of six decimals in each of the two files that a client may compare

DECODE = """
import sys
import numpy as np
import torch
from app.networks.store import read_registry
from app.policies import STORE
codes = torch.from_numpy(np.load(sys.argv[1]))
network = read_registry(STORE, "default").default.network
with torch.inference_mode():
    np.save(sys.argv[2], np.concatenate([network.decode(code[None]).table for code in codes]))
"""


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 16 codes of the embedded network, float32 (16, K), larger than photographs have."""
    size = read_registry(STORE, "default").default.network.code_size
    path = tmp_path_factory.mktemp("codes") / "codes.npy"
    np.save(path, np.random.default_rng(0).normal(0, 0.5, (16, size)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def reference(codes: Path) -> np.ndarray:
    """Compute the tables of the oldest processor, float32 (16, 3, D, D, D)."""
    return _decode(codes, "generic")


@pytest.mark.parametrize("processor", ["avx2", "avx512"])
def test_a_token_is_the_same_lut_on_every_processor(
    codes: Path, reference: np.ndarray, processor: str
) -> None:
    """A code decodes to tables that differ by at most 1e-5, as the README states of replicas."""
    tables = _decode(codes, processor)
    np.testing.assert_allclose(tables, reference, rtol=0, atol=TABLE - PRINTED)


def _decode(codes: Path, processor: str) -> np.ndarray:
    """Decode codes (B, K) in a process of its own -> tables float32 (B, 3, D, D, D)."""
    tables = codes.with_name(f"{processor}.npy")
    subprocess.run(
        [sys.executable, "-c", DECODE, codes, tables],
        env=os.environ | PROCESSORS[processor],
        check=True,
    )
    return np.load(tables)
