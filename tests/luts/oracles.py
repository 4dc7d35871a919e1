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


def ffmpeg(file: Path, interpolation: Interpolation, pixels: NDArray[np.uint16]) -> NDArray:
    """What ffmpeg's filter lut3d makes of pixels (H, W, 3).

    In 16 bits, since ffmpeg cuts fractions of a level off where others round.
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
    answer = graph.pull()
    assert answer.format.name == "rgb48le"
    return answer.to_ndarray()


def opencolorio(file: Path, interpolation: Interpolation, pixels: NDArray[np.uint16]) -> NDArray:
    """What an OpenColorIO FileTransform makes of pixels (H, W, 3)."""
    names = {"tetrahedral": ocio.INTERP_TETRAHEDRAL, "trilinear": ocio.INTERP_LINEAR}
    transform = ocio.FileTransform(str(file), interpolation=names[interpolation])
    depth = ocio.BIT_DEPTH_UINT16
    processor = ocio.Config.CreateRaw().getProcessor(transform)
    cpu = processor.getOptimizedCPUProcessor(depth, depth, ocio.OPTIMIZATION_LOSSLESS)
    answer = pixels.copy()
    height, width, _ = answer.shape
    layout = ocio.CHANNEL_ORDERING_RGB, depth, 2, 6, 6 * width
    cpu.apply(ocio.PackedImageDesc(answer, width, height, *layout))
    return answer
