"""Other programs that read LUT files."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
import PyOpenColorIO as ocio  # noqa: N813  (the short name of its own documentation)
from numpy.typing import NDArray

from app.luts.lut3d import Interpolation

Oracle = Callable[[Path, Interpolation, NDArray[np.uint16]], NDArray[np.uint16]]


def apply_ffmpeg(file: Path, interpolation: Interpolation, pixels: NDArray[np.uint16]) -> NDArray:
    """Apply a LUT file to pixels (H, W, 3) with the filter lut3d of ffmpeg.

    The pixels have 16 bits, since ffmpeg truncates fractions of a level where others round.
    """
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
        ),
        graph.add("lut3d", f"file={file}:interp={interpolation}"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    output = graph.pull()
    assert output.format.name == "rgb48le"
    return output.to_ndarray()


def apply_opencolorio(
    file: Path, interpolation: Interpolation, pixels: NDArray[np.uint16]
) -> NDArray:
    """Apply a LUT file to pixels (H, W, 3) with OpenColorIO."""
    names = {"tetrahedral": ocio.INTERP_TETRAHEDRAL, "trilinear": ocio.INTERP_LINEAR}
    transform = ocio.FileTransform(str(file), interpolation=names[interpolation])
    depth = ocio.BIT_DEPTH_UINT16
    processor = ocio.Config.CreateRaw().getProcessor(transform)
    cpu = processor.getOptimizedCPUProcessor(depth, depth, ocio.OPTIMIZATION_LOSSLESS)
    output = pixels.copy()
    height, width, _ = output.shape
    layout = ocio.CHANNEL_ORDERING_RGB, depth, 2, 6, 6 * width
    cpu.apply(ocio.PackedImageDesc(output, width, height, *layout))
    return output
