"""Reading LUT files with OpenColorIO, an optional dependency."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadLutFile
from app.luts.lut3d import FINE_SIZE, Lut3D

_EVERY_LEVEL = 65536  # samples of a curve that include each 16-bit and each 8-bit input


def read_with_opencolorio(suffix: str, data: bytes) -> Lut3D:
    """Read a file of a format that OpenColorIO recognises by its suffix, with the dot.

    Curves before a 3D table become a shaper, and the table is exact. Other transforms are
    sampled: curves at every 16-bit level, transforms that mix channels at 65 points on an axis.

    Raises:
        BadLutFile: OpenColorIO is not installed or cannot read the file.
    """
    try:
        import PyOpenColorIO as ocio  # noqa: N813 -- here: it is optional, and slow to load
    except ImportError:
        missing = f"{suffix} files are read by OpenColorIO: pip install 'clut-enhance[luts]'"
        raise BadLutFile(missing) from None
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"lut{suffix}"
        path.write_bytes(data)
        try:
            processor = ocio.Config.CreateRaw().getProcessor(ocio.FileTransform(str(path)))
        except ocio.Exception as error:
            raise BadLutFile(_shorten(str(error), path)) from error
    return _to_lut(ocio, processor)


def _to_lut(ocio: Any, processor: Any) -> Lut3D:
    """Convert the transforms of a file to a LUT."""
    if not processor.hasChannelCrosstalk():
        return Lut3D(Lut3D.identity(2).table, _sample_curves(ocio, processor))
    *curves, last = processor.createGroupTransform()
    before = ocio.Config.CreateRaw().getProcessor(ocio.GroupTransform(curves))
    forward = last.getDirection() == ocio.TRANSFORM_DIR_FORWARD
    if isinstance(last, ocio.Lut3DTransform) and forward and not before.hasChannelCrosstalk():
        size = last.getGridSize()
        table = last.getData().reshape(size, size, size, 3).transpose(2, 1, 0, 3)
        shaper = _sample_curves(ocio, before) if curves else None
        return Lut3D(np.ascontiguousarray(table, np.float32), shaper)
    return Lut3D(_apply(processor, Lut3D.identity(FINE_SIZE).table))


def _sample_curves(ocio: Any, processor: Any) -> NDArray[np.float32]:
    """Return the curves (3, M) of transforms that do not mix channels."""
    samples = _EVERY_LEVEL
    match list(processor.createGroupTransform()):
        case [ocio.Lut1DTransform() as curve] if not curve.getInputHalfDomain():
            if curve.getDirection() == ocio.TRANSFORM_DIR_FORWARD:
                samples = curve.getLength()  # linear in between, so its own rows are exact
    ramp = np.repeat(np.linspace(0, 1, samples, dtype=np.float32), 3).reshape(-1, 3)
    return np.ascontiguousarray(_apply(processor, ramp).T)


def _apply(processor: Any, colours: NDArray[np.float32]) -> NDArray[np.float32]:
    output = np.ascontiguousarray(colours, np.float32).copy()
    processor.getDefaultCPUProcessor().applyRGB(output)
    return output


def _shorten(message: str, path: Path) -> str:
    """Reduce the message of OpenColorIO to one line about the file."""
    reason = re.split(r"failed with: ", message)[-1]
    return " ".join(reason.replace(f" ({path})", "").replace(str(path), "the file").split())
