"""Coverage-guided fuzzing of what strangers send; `make fuzz` runs every target for a while.

    python -m tests.fuzz cube -max_total_time=60

A target ends with whatever is neither a Problem nor a BadLutFile, and leaves the input in a
file: a regression test to be.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

COMPILED = [
    "app.luts.formats.text_format",
    "app.luts.kernels",
    "app.imaging.resize",
]  # of bytecode as it was

with atheris.instrument_imports(include=["app", "tifffile"], exclude=COMPILED):
    from app.errors import BadLutFile, Problem
    from app.imaging.exif import Exif
    from app.imaging.metadata import MetadataPolicy, filter_metadata, reset_orientation
    from app.imaging.probe import Limits, probe
    from app.imaging.raster import Metadata
    from app.luts.formats.cube import read_cube, write_cube
    from app.luts.lut3d import Lut3D
    from app.luts.token import LookToken
    from tests.helpers.files import XMP, one_of_each
    from tests.helpers.files import exif as exif_block


logging.getLogger("tifffile").disabled = True


def header(data: bytes) -> None:
    """Sniffing, and the headers of all formats but HEIF, whose decoder is known to crash."""
    if data[4:8] != b"ftyp":
        probe(data, Limits())


def metadata(data: bytes) -> None:
    """EXIF and XMP of an accepted photo, on their way out again."""
    half = len(data) // 2
    blocks = reset_orientation(Metadata(exif=data[:half], xmp=data[half:]))
    for policy in MetadataPolicy:
        filter_metadata(blocks, policy)


def exif(data: bytes) -> None:
    """One EXIF block; what was read is written such that it can be read again."""
    try:
        block = Exif.parse(data)
    except Exception:
        return
    once = block.tobytes()
    if once is not None:
        Exif.parse(once)


def cube(data: bytes) -> None:
    """Parse a .cube file."""
    read_cube(data.decode("latin-1"))


def token(data: bytes) -> None:
    """Parse a look token; an accepted one is equal when it is written again."""
    text = data.decode("latin-1")
    look = LookToken.decode(text)
    assert LookToken.decode(look.encode(half=False)).code.shape == look.code.shape


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (header, metadata, exif, cube, token)
}


def seeds(folder: Path) -> None:
    """Write valid inputs for every target, from which the fuzzer starts."""
    code = np.linspace(-1, 1, 20, dtype=np.float32)
    valid = {
        "header": list(one_of_each().values()),
        "metadata": [exif_block(6) + XMP],
        "exif": [exif_block(6)],
        "cube": [write_cube(Lut3D.identity(2), title="a").encode()],
        "token": [LookToken(bytes(8), code).encode(half=half).encode() for half in (False, True)],
    }
    for target, contents in valid.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / target / str(number)).write_bytes(content)


def main() -> None:
    """Fuzzes the target that is named, until it fails or its time is up."""
    if sys.argv[1] == "seeds":
        seeds(Path(sys.argv[2]))
        return
    target = TARGETS[sys.argv.pop(1)]

    def survives(data: bytes) -> None:
        try:
            target(data)
        except (Problem, BadLutFile):
            return

    atheris.Setup(sys.argv, survives)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
