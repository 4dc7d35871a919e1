"""The LUT as a JSON document, for programs that read no LUT format."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import orjson

from app.errors import BadLutFile
from app.luts.formats.base import LutCodec, LutLayout, LutMetadata
from app.luts.lut3d import Lut3D

_ROWS = 1 << 14  # of the table, which take a few milliseconds


def write_json(lut: Lut3D, metadata: LutMetadata, _: LutLayout) -> bytes:
    """Write a JSON object: the metadata, `size`, `order`, and `table` as rows of [r, g, b].

    Args:
        lut: without a shaper; resample it first.
        metadata: its fields become members; those that are None become null.
    """
    document = asdict(metadata) | {
        "size": lut.size,
        "order": "rows of [r, g, b], red fastest, as in a .cube file",
    }
    rows = np.ascontiguousarray(lut.table.reshape(-1, 3))
    # A part at a time: orjson holds up all other threads while it writes.
    parts = [
        orjson.dumps(rows[at : at + _ROWS], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        for at in range(0, len(rows), _ROWS)
    ]
    parts[0] = orjson.dumps(document).removesuffix(b"}") + b',"table":[' + parts[0]
    parts[-1] += b"]}"
    return b",".join(parts)


def read_json(data: bytes) -> Lut3D:
    """Read a document of `write_json`; members other than `size` and `table` are ignored.

    Raises:
        BadLutFile: the members are missing or do not fit together.
    """
    try:
        document = orjson.loads(data)
        size = document["size"]
        table = np.array(document["table"], np.float32)
        return Lut3D(table.reshape(size, size, size, 3))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadLutFile("expected a JSON object with size N and N^3 rows of [r, g, b]") from error


CODEC = LutCodec(
    name="json",
    suffix=".json",
    media_type="application/json",
    description="rows of [r, g, b]",
    write=write_json,
    read=read_json,
)
