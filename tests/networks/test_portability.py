"""Figures that may not depend on the processor by more than rounding."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from app.luts.token import LookToken
from app.networks.store import read_registry
from app.policies import STORE

DECODE = """
import sys
import torch
from app.networks.store import read_registry
from app.policies import STORE
network = read_registry(STORE, "default").default.network
with torch.inference_mode():
    code = torch.frombuffer(bytearray(sys.stdin.buffer.read()), dtype=torch.float32)
    sys.stdout.buffer.write(network.decode(code[None]).table.numpy().tobytes())
"""


@pytest.fixture(scope="module")
def code() -> np.ndarray:
    """A code of the embedded network as its token holds it, float32 (K,)."""
    model = read_registry(STORE, "default").default
    numbers = np.linspace(-1, 1, model.network.code_size, dtype=np.float32)
    return LookToken.decode(LookToken(model.card.fingerprint, numbers).encode(half=True)).code


@pytest.fixture(scope="module")
def reference(code: np.ndarray) -> np.ndarray:
    """The table that the slowest instruction set computes."""
    return _decode(code, ATEN_CPU_CAPABILITY="default")


@pytest.mark.parametrize("capability", ["avx2", "avx512"])
def test_a_token_is_the_same_lut_on_every_processor(
    code: np.ndarray, reference: np.ndarray, capability: str
) -> None:
    """A code decodes to tables that differ by at most 1e-5 between instruction sets.

    1e-5 is what the README promises of replicas. A processor without an instruction set uses the
    best one that it has.
    """
    table = _decode(code, ATEN_CPU_CAPABILITY=capability)
    np.testing.assert_allclose(table, reference, rtol=0, atol=1e-5)


def _decode(code: np.ndarray, **environment: str) -> np.ndarray:
    """Decode a code float32 (K,) in a process of its own -> table float32 (3 D^3,)."""
    process = subprocess.run(
        [sys.executable, "-c", DECODE],
        input=code.tobytes(),
        env=os.environ | environment,
        capture_output=True,
        check=True,
    )
    return np.frombuffer(process.stdout, np.float32)
