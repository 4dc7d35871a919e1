"""The registry of network architectures, by the name in model cards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from app.errors import BadModel
from app.networks.adaint import AdaInt
from app.networks.base import Checkpoint, Network
from app.networks.clutnet import ClutNet
from app.networks.gated import GatedSlut
from app.networks.ia3dlut import ImageAdaptive3DLut
from app.networks.lut4d import Lut4D
from app.networks.lutwithbgrid import LutWithBGrid
from app.networks.seplut import SepLut
from app.networks.slut import Slut
from app.networks.svdlut import SvdLut

ARCHITECTURES: dict[str, Callable[..., Network]] = {
    network.architecture: network
    for network in (
        ClutNet,
        ImageAdaptive3DLut,
        AdaInt,
        SepLut,
        SvdLut,
        LutWithBGrid,
        Slut,
        Lut4D,
        GatedSlut,
    )
}


# A tensor that occurs in the checkpoints of one method alone, and the reader of that method.
_IMPORTERS: dict[str, Callable[[Checkpoint], Network]] = {
    "CLUTs.LUTs": ClutNet.from_checkpoint,
    "0.LUT": ImageAdaptive3DLut.from_checkpoint,
    "adaint.intervals_generator.weight": AdaInt.from_checkpoint,
    "lut1d_generator.lut1d_generator.weight": SepLut.from_checkpoint,
    "gen_2d_lut.basis_luts_bank.weight": SvdLut.from_checkpoint,
    "gen_bilateral.basis_grids_bank.weight": LutWithBGrid.from_checkpoint,
}


def import_checkpoint(paths: Iterable[Path]) -> Network:
    """Read checkpoints as their authors published them; sizes are inferred from the shapes.

    Args:
        paths: the files of one checkpoint; Image-Adaptive-3DLUT has two.

    Raises:
        BadModel: the method is unknown, or a tensor does not fit; the message names it.
    """
    state = Checkpoint.read(paths)
    for tensor, importer in _IMPORTERS.items():
        if tensor in state:
            return importer(state).eval()
    known = ", ".join(_IMPORTERS)
    raise BadModel(f"not a checkpoint of a known method: it has none of the tensors {known}")
