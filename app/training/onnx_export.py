"""ONNX: networks as files that phones and browsers run by themselves.

A graph maps one thumbnail to one LUT, with standard operators alone (ONNX opset 18):

- `thumbnail`: float32 (1, 3, S, S) in 0..1, sRGB, made as the file's metadata `thumbnail` state;
- `table`: float32 (1, 3, D, D, D), axes [channel][b][g][r], absolute;
- `shaper`: float32 (1, 3, M), for networks whose tables have one: a curve for each channel, before
  the table.

All stay float32 in the variants of float16 and int8, whose weights and sums are smaller.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.errors import BadParameter
from app.luts.lut_error import mean_difference
from app.networks.base import LutBatch, Network
from app.networks.lut_ops import trilinear
from app.networks.store import Model

Precision: TypeAlias = Literal["float32", "float16", "int8"]
Thumbnails: TypeAlias = Sequence[NDArray[np.float32]]

OPSET = 18
INPUT, OUTPUTS = "thumbnail", ("table", "shaper")


def export_onnx(model: Model, precision: Precision, thumbnails: Thumbnails) -> bytes:
    """Return a network as an ONNX file.

    Args:
        model: of any architecture.
        precision: float32; float16, half the size; or int8, weights and activations of the
            convolutions and products with 8 bits (static quantisation).
        thumbnails: float32 (3, S, S) in 0..1 of typical photographs, which set the ranges of int8.

    Raises:
        BadParameter: int8 without thumbnails; or the extra "onnx" is not installed; or the network
            is local.
    """
    if model.network.is_local:
        raise BadParameter(f"{model.card.model_ref}: local networks have no ONNX form")
    if precision == "int8" and not thumbnails:
        raise BadParameter("int8 takes its ranges from photographs: name a folder of some")
    try:
        exported = _trace(model)
        if precision == "float16":
            exported = _to_float16(exported)
        if precision == "int8":
            exported = _to_int8(exported, thumbnails)
    except ImportError as error:
        raise BadParameter(f'this needs the extra "onnx": {error}') from error
    del exported.metadata_props[:]  # of the exporter
    for key, value in _describe(model).items():
        exported.metadata_props.add(key=key, value=value)
    serialised: bytes = exported.SerializeToString()
    return serialised


class OnnxNetwork:
    """An exported network, run by ONNX Runtime on the CPU."""

    def __init__(self, file: bytes) -> None:
        """Load an ONNX file."""
        from onnxruntime import InferenceSession

        self._session = InferenceSession(file, providers=["CPUExecutionProvider"])

    def __call__(self, thumbnail: NDArray[np.float32]) -> LutBatch:
        """Map a thumbnail float32 (3, S, S) in 0..1 to its LUT, a batch of one."""
        outputs = self._session.run(None, {INPUT: thumbnail[None]})
        return LutBatch(*map(torch.from_numpy, outputs))


@dataclass(frozen=True)
class Comparison:
    """How far an exported network is from the original.

    Attributes:
        worst: the largest difference of their tables and shapers, of values in 0..1.
        mean: the mean difference of the thumbnails' colours after both, in CIEDE2000.
    """

    worst: float
    mean: float

    def __str__(self) -> str:
        return f"values differ by at most {self.worst:.1e}, colours by {self.mean:.2f} dE2000"


@torch.no_grad()
def compare(model: Model, exported: OnnxNetwork, thumbnails: Thumbnails) -> Comparison:
    """Compare an exported network with the original on thumbnails float32 (3, S, S) in 0..1."""
    worst, means = 0.0, []
    for thumbnail in thumbnails:
        image = torch.from_numpy(thumbnail)[None]
        original, other = model.network(image), exported(thumbnail)
        for one, two in zip(original, other, strict=True):
            if one is not None:
                worst = max(worst, float((one - two).abs().max()))
        colours = image.flatten(2).transpose(1, 2)
        means.append(mean_difference(*(_to_levels(it, colours) for it in (original, other))))
    return Comparison(worst, fmean(means))


def _to_levels(luts: LutBatch, colours: Tensor) -> NDArray[np.uint16]:
    """Map colours (1, P, 3) in 0..1 to levels (P, 3) of 16 bits."""
    levels: NDArray[np.uint16] = (
        trilinear(luts, colours)[0].clamp(0.0, 1.0).mul(65535).round().numpy().astype(np.uint16)
    )
    return levels


class _Outputs(nn.Module):
    """A network whose outputs are a tuple, without those that are None."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, thumbnail: Tensor) -> tuple[Tensor, ...]:
        return tuple(it for it in self.network(thumbnail) if it is not None)


def _trace(model: Model) -> Any:
    size = model.card.thumbnail.size
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            _Outputs(model.network),
            (torch.zeros(1, 3, size, size),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=OUTPUTS[: 1 + model.network.has_shaper],
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter returned no program")
    return program.model_proto


def _describe(model: Model) -> dict[str, str]:
    card = model.card
    return {
        "model": card.model_ref,
        "licence": card.licence,
        "source": card.source,
        "thumbnail": json.dumps({"colours": "sRGB", **card.thumbnail.model_dump()}),
        "table": "absolute, axes [channel][b][g][r]",
    }


def _to_float16(exported: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # Sums over a whole thumbnail and the small denominators of norms leave the range of 16 bits.
    return convert_float_to_float16(
        exported, keep_io_types=True, op_block_list=["InstanceNormalization", "ReduceMean"]
    )


def _to_int8(exported: Any, thumbnails: Thumbnails) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def __init__(self) -> None:
            self._left: Iterator[NDArray[np.float32]] = iter(thumbnails)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            thumbnail = next(self._left, None)
            return None if thumbnail is None else {INPUT: thumbnail[None]}

    with TemporaryDirectory() as folder:
        plain, ready, small = (Path(folder) / name for name in ("plain", "ready", "small"))
        onnx.save(exported, plain)
        quant_pre_process(plain, ready)
        # The table itself stays exact: a step of 8 bits in it would show as a band.
        quantize_static(
            ready,
            small,
            Reader(),
            op_types_to_quantize=["Conv", "Gemm"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(small)
