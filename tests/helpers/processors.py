"""Older processors, which are simulated: each library is limited to their instructions.

TEST_PROCESSOR=NAME runs the tests, and the servers that they start, on one of them. A processor
that lacks an instruction set uses the best one that it has.
"""

from __future__ import annotations

PROCESSORS = {
    "generic": {
        "ATEN_CPU_CAPABILITY": "default",  # torch
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",  # its matrix products
        "ONEDNN_MAX_CPU_ISA": "SSE41",  # its convolutions
        "OPENBLAS_CORETYPE": "Nehalem",  # numpy's matrix products
        "NUMBA_CPU_NAME": "generic",  # our own loops
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "OPENBLAS_CORETYPE": "SkylakeX",
    },
}
