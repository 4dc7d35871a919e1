"""The hardware that runs the networks, and the compilation of the loops for it.

No other module distinguishes CPU and CUDA.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from app.imaging.resize import make_thumbnail
from app.luts import apply
from app.luts.apply import Applier, Pixels
from app.luts.formats.cube import write_cube
from app.luts.local_lut import AnyLut, LocalLut, Places
from app.luts.lut3d import Interpolation, Lut3D
from app.luts.lut_error import mean_difference
from app.networks.base import LutBatch, Network
from app.networks.lut_ops import tetrahedral, trilinear
from app.policies import DevicePolicy
from app.restoration.apply import compile_loops as compile_restoration

P = ParamSpec("P")
R = TypeVar("R")

PIXELS_AT_ONCE = 1 << 22  # passed to a GPU at a time: bounds its memory to about 0.5 GB


@dataclass(frozen=True, eq=False)
class Prediction:
    """The output of a network for one thumbnail.

    Attributes:
        code: float32 (K,), with the cells of the map at its end.
        lut: the LUT that the code decodes to.
        seconds: the time of the batch on the device.
    """

    code: NDArray[np.float32]
    lut: AnyLut
    seconds: float


class Device:
    """Keeps networks resident, and runs them on a thread of its own, one call at a time.

    Attributes:
        interpolation: of the LUTs.

    An async context manager: entering prepares the hardware, leaving ends the thread.
    """

    def __init__(self, policy: DevicePolicy) -> None:
        """Choose the device; raises RuntimeError if the policy requires CUDA and there is none."""
        self._policy = policy
        self.interpolation = policy.interpolation
        self._failures = 0
        self._device = _choose_device(policy.name)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")

    async def __aenter__(self) -> Self:
        # One thread runs the network while the pool decodes and encodes on the other cores; more
        # threads would compete with the pool, and gain nothing at 256x256.
        torch.set_num_threads(1)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)

    @property
    def name(self) -> str:
        """The name of the device, such as "cpu" or "cuda:0"."""
        return str(self._device)

    @property
    def healthy(self) -> bool:
        """Whether predictions have not failed too many times in a row."""
        return self._failures < self._policy.max_failures

    @property
    def memory(self) -> int:
        """Bytes of GPU memory that are reserved; 0 on a CPU."""
        return torch.cuda.memory_reserved(self._device) if self._device.type == "cuda" else 0

    async def warm_up(self, network: Network, thumbnail_size: int, max_batch: int) -> None:
        """Move a network to the device, and run every batch size in use and the LUT kernel once."""
        await self._call(self._warm_up, network, thumbnail_size, max_batch)

    async def predict(
        self, network: Network, max_batch: int, thumbnails: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """Predict from thumbnails, float32 (3, S, S) in 0..1, in one run of the network."""
        try:
            predictions = await self._call(self._predict, network, max_batch, thumbnails)
        except Exception:
            self._failures += 1
            raise
        self._failures = 0
        return predictions

    async def decode(self, network: Network, code: NDArray[np.float32]) -> AnyLut:
        """Rebuild the LUT of a code (K,), with the cells of the map at its end."""
        return await self._call(self._decode, network, code)

    def applier(self, lut: AnyLut, dtype: DTypeLike) -> Applier:
        """Prepare a LUT for pixels of a dtype, uint8 or uint16.

        Blocks, and so does the function that is returned, which passes pixels (H, W, 3) through
        the LUT, in place, given their places: call both on threads of the pool. Strips of an image
        may be passed at the same time. The CPU applies local LUTs, whatever the device.
        """
        if self._device.type == "cpu" or isinstance(lut, LocalLut):
            return apply.prepare(lut, self.interpolation, dtype).apply
        return partial(apply_on, self._device, lut, self.interpolation)

    async def _call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        running = self._thread.submit(function, *args, **kwargs)
        return await asyncio.wrap_future(running)

    def _warm_up(self, network: Network, thumbnail_size: int, max_batch: int) -> None:
        network.to(self._device)
        thumbnail = np.zeros((3, thumbnail_size, thumbnail_size), np.float32)
        for size in padded_sizes(max_batch):
            prediction = self._predict(network, max_batch, [thumbnail] * size)[0]
        for dtype in (np.uint8, np.uint16):
            self.applier(prediction.lut, dtype)(np.zeros((1, 1, 3), dtype), Places.of_image(1, 1))

    @torch.inference_mode()
    def _predict(
        self, network: Network, max_batch: int, thumbnails: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        begun = perf_counter()
        batch = _pad_batch(thumbnails, max_batch)
        # The applied look must be the one that the token holds.
        codes = network.quantise(network.encode(_upload(torch.from_numpy(batch), self._device)))
        luts = to_luts(network.decode(codes))
        seconds = perf_counter() - begun
        return [
            Prediction(code, lut, seconds)
            for code, lut in zip(codes.cpu().numpy(), luts, strict=True)
        ][: len(thumbnails)]

    @torch.inference_mode()
    def _decode(self, network: Network, code: NDArray[np.float32]) -> AnyLut:
        codes = torch.from_numpy(code)[None].to(self._device)
        return to_luts(network.decode(codes))[0]


def compile_loops(interpolations: Sequence[Interpolation]) -> None:
    """Compile every inner loop of the CPU, or load it from disk, before a request needs it."""
    luts = Lut3D.identity(33), Lut3D.identity(2)  # the second is too steep to pack
    local_luts = [LocalLut((it, it), np.zeros((1, 1, 1, 1), np.uint8)) for it in luts]
    for dtype in (np.uint8, np.uint16):
        pixel = np.zeros((1, 1, 3), dtype)
        make_thumbnail(pixel, 1, antialias=False)
        mean_difference(pixel[0], pixel[0])
        for lut in luts:
            for interpolation in interpolations:
                apply.apply(pixel, lut, interpolation)
        for local in local_luts:
            apply.apply(pixel, local)
    write_cube(luts[1], title="")
    compile_restoration()


def padded_sizes(max_batch: int) -> list[int]:
    """Return the batch sizes in use: 1, 2, 3, 4, 8, 16 ... and the largest.

    There are few sizes because memory allocators and kernel caches grow with every new one.
    """
    powers = (1 << power for power in range(2, max_batch.bit_length()))
    return [size for size in (1, 2, 3, *powers) if size < max_batch] + [max_batch]


@torch.inference_mode()
def apply_on(
    device: torch.device,
    lut: Lut3D,
    interpolation: Interpolation,
    pixels: Pixels,
    _: Places | None = None,
) -> None:
    """Pass pixels (H, W, 3) through a LUT on a torch device, in place, whatever their places.

    The pixels are copied as integers through pinned memory, a strip at a time.
    """
    lookup = tetrahedral if interpolation == "tetrahedral" else trilinear
    tables = _to_batch(lut, device)
    highest = float(np.iinfo(pixels.dtype).max)
    flat = pixels.reshape(-1, 3)
    for start in range(0, len(flat), PIXELS_AT_ONCE):
        strip = flat[start : start + PIXELS_AT_ONCE]
        colours = _upload(torch.from_numpy(strip), device).float().div_(highest)
        result = lookup(tables, colours[None])[0].clamp_(0.0, 1.0).mul_(highest).round_()
        # Through int32: not every backend converts float to uint16.
        strip[:] = result.int().cpu().numpy()


def _choose_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"the device is set to {name}, but torch finds no CUDA device")
    return device


def _upload(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def _pad_batch(thumbnails: Sequence[NDArray[np.float32]], max_batch: int) -> NDArray[np.float32]:
    """Stack B thumbnails (3, S, S) to (size in use, 3, S, S), padded with zeros."""
    if len(thumbnails) == 1:
        return thumbnails[0][np.newaxis]  # a copy would be a tenth of the time of the network
    size = next(size for size in padded_sizes(max_batch) if size >= len(thumbnails))
    batch = np.zeros((size, *thumbnails[0].shape), np.float32)
    for row, thumbnail in zip(batch, thumbnails, strict=False):
        row[:] = thumbnail
    return batch


def to_luts(tables: LutBatch) -> list[AnyLut]:
    """Convert tables (B, 3K, D, D, D) to B LUTs whose tables are (D, D, D, 3)."""
    table = tables.table
    stacked = table.view(len(table), -1, 3, *table.shape[2:]).permute(0, 1, 3, 4, 5, 2).contiguous()
    if tables.maps is not None:
        maps = (tables.maps * 255.0).round().byte().cpu().numpy()
        return [
            LocalLut(tuple(map(Lut3D, arrays)), shares)
            for arrays, shares in zip(stacked.cpu().numpy(), maps, strict=True)
        ]
    arrays = stacked[:, 0].cpu().numpy()
    if tables.shaper is None:
        return [Lut3D(array) for array in arrays]
    shapers = tables.shaper.cpu().numpy()
    return [Lut3D(array, shaper) for array, shaper in zip(arrays, shapers, strict=True)]


def _to_batch(lut: Lut3D, device: torch.device) -> LutBatch:
    """Convert a LUT to a batch of one."""
    table = torch.from_numpy(lut.table).permute(3, 0, 1, 2)[None].to(device)
    shaper = None if lut.shaper is None else torch.from_numpy(lut.shaper)[None].to(device)
    return LutBatch(table, shaper)
