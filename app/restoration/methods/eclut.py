"""EC-LUT (AAAI 2024): each look-up predicts a pixel and its surroundings, and these are summed.

Neither code nor tables are published; this follows the abstract, which states that the output
range is expanded to the surroundings, and that nothing is interpolated. Assumed here: the S pattern
on the upper four bits, windows of 3 x 3 input pixels, and that the sum of the windows is a
correction of the pixel, in the unit that the card gives.
"""

from __future__ import annotations

import numpy as np

from app.errors import BadModel
from app.restoration import kernels
from app.restoration.engine import Maps, Model
from app.restoration.methods.base import Hparams, Tables, take

_WINDOW = 3  # input pixels in each direction that an entry predicts
_LEVELS, _BITS = 16, 4
_TAPS = np.array([(0, dy, dx) for dy in (0, 1) for dx in (0, 1)])


def build(tables: Tables, hparams: Hparams) -> Model:
    """Build the model from the table `window`, int8 (16 ** 4, (3 * scale) ** 2), in rows.

    Args:
        tables: hold it.
        hparams: `scale`, and `unit`: levels that an entry of 1 is worth.

    Raises:
        BadModel: the table is missing, or its shape does not fit.
    """
    scale, unit = int(hparams["scale"]), float(hparams["unit"])
    if scale < 1:
        raise BadModel(f"a scale of {scale}")
    table = take(tables, "window", _LEVELS**4, (_WINDOW * scale) ** 2).astype(np.float32)
    side = _WINDOW * scale

    def run(maps: Maps) -> Maps:
        height, width = maps.shape[1:]
        # A window around each pixel, and around one row or column outside the image.
        padded = np.pad(maps, ((0, 0), (1, 2), (1, 2)), "edge")
        values = np.zeros((side**2, height + 2, width + 2), np.float32)
        high = (padded >> _BITS).astype(np.float32)
        kernels.direct(high, _TAPS, np.float32(0), _LEVELS, table, values)
        sums = np.zeros((height + 4, scale, width + 4, scale), np.float32)
        windows = values.reshape(_WINDOW, scale, _WINDOW, scale, height + 2, width + 2)
        for dy in range(_WINDOW):
            for dx in range(_WINDOW):
                part = windows[dy, :, dx].transpose(2, 0, 3, 1)
                sums[dy : dy + height + 2, :, dx : dx + width + 2] += part
        correction = unit * sums[2:-2, :, 2:-2]
        total = (maps[0][:, None, :, None] + correction).clip(0, 255)
        found: Maps = np.rint(total).astype(np.uint8)
        return found.reshape(1, height * scale, width * scale)

    return Model(scale, 3, run)
