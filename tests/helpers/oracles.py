"""Other programs that read LUT files."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import av.filter
import imagecodecs
import numpy as np
import PyOpenColorIO as ocio  # noqa: N813  (the short name of its own documentation)
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from torch.nn.functional import grid_sample

from app.luts.formats.base import Depth, LutLayout, LutMetadata
from app.luts.formats.icc import write_icc
from app.luts.lut3d import Interpolation, Lut3D

Oracle = Callable[[Path, Interpolation, NDArray[np.uint16]], NDArray[np.uint16]]


def apply_ffmpeg_hald(file: Path, pixels: NDArray[np.uint16]) -> NDArray:
    """Apply a HALD of 16 bits to pixels (H, W, 3) with the filter haldclut of ffmpeg."""
    frames = [
        av.VideoFrame.from_ndarray(it, format="rgb48le")
        for it in (pixels, imagecodecs.png_decode(file.read_bytes()))
    ]
    graph = av.filter.Graph()
    haldclut = graph.add("haldclut", "interp=tetrahedral")
    sources = []
    for port, frame in enumerate(frames):
        frame.pts = 0
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
        )
        source.link_to(haldclut, 0, port)
        sources.append(source)
    haldclut.link_to(graph.add("buffersink"))
    graph.configure()
    for source, frame in zip(sources, frames, strict=True):
        source.push(frame)
        source.push(None)
    return graph.pull().to_ndarray()


def apply_imagemagick(pixels: NDArray[np.uint16], *arguments: object) -> NDArray:
    """Apply an operation of ImageMagick to pixels (H, W, 3)."""
    command = ["convert", "-", *map(str, arguments), "-depth", "16", "PNG48:-"]
    image = bytes(imagecodecs.png_encode(pixels))
    output = subprocess.run(command, input=image, capture_output=True, check=True).stdout
    return imagecodecs.png_decode(output)


def apply_littlecms(file: Path, pixels: NDArray[np.uint16]) -> NDArray:
    """Apply a device link to pixels (H, W, 3) with littleCMS, then one that changes nothing."""
    layout = LutLayout(Depth.UINT16)
    output = imagecodecs.cms_transform(
        pixels,
        file.read_bytes(),
        write_icc(Lut3D.identity(2), LutMetadata(title="identity"), layout),
        colorspace="RGB",
        outcolorspace="RGB",
        flags=imagecodecs.CMS.FLAGS.NOOPTIMIZE,
    )
    return np.asarray(output)


def apply_pillow_strip(file: Path, pixels: NDArray[np.uint16], *, up: bool) -> NDArray:
    """Apply a strip of 8 bits to pixels (H, W, 3) with Pillow, in 8 bits."""
    with Image.open(file) as image:
        strip = ImageOps.flip(image) if up else image
        size = strip.height
        entries = [
            strip.getpixel((blue * size + red, green))
            for blue, green, red in product(range(size), repeat=3)
        ]
    table = [level / 255 for entry in entries for level in entry]
    photo = Image.fromarray((pixels // 257).astype(np.uint8))
    output = photo.filter(ImageFilter.Color3DLUT(size, table))
    return np.asarray(output).astype(np.uint16) * 257


def sample_texture(file: Path, pixels: NDArray[np.uint16]) -> NDArray:
    """Sample a .bin file as a 3D texture at pixels (H, W, 3), trilinearly, with torch."""
    body = file.read_bytes()
    (size,) = struct.unpack_from("<H", body, 6)
    halves = body[5] == 2
    numbers = np.frombuffer(body, np.float16 if halves else np.uint8, offset=16)
    texels = numbers.astype(np.float32).reshape(size, size, size, 4) / (1 if halves else 255)
    assert (texels[..., 3] == 1).all()
    texture = torch.from_numpy(texels).permute(3, 0, 1, 2)[None]  # (1, RGBA, depth, height, width)
    grid = torch.from_numpy(pixels.astype(np.float32) / 65535 * 2 - 1)[None, None]  # x, y, z
    colours = grid_sample(texture, grid, align_corners=True)[0, :3, 0].permute(1, 2, 0)
    return np.rint(colours.clamp(0, 1).numpy() * 65535).astype(np.uint16)


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


def has_imagemagick() -> bool:
    """Return whether `convert` is ImageMagick's."""
    if shutil.which("convert") is None:
        return False
    version = subprocess.run(["convert", "-version"], capture_output=True, text=True, check=False)
    return version.stdout.startswith("Version: ImageMagick")


needs_imagemagick = pytest.mark.skipif(
    not has_imagemagick(), reason="there is no ImageMagick: apt-get install imagemagick"
)
