"""Methods that consist of a description: SR-LUT, MuLUT, SPF-LUT, DnLUT, RC-LUT and EC-LUT.

The engine evaluates each of them and `app.training.restoration` trains each of them. The files of
SR-LUT and MuLUT are published; nothing is published of the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from app.errors import BadModel
from app.restoration.engine import Model, Tables, build
from app.restoration.layers import PATTERNS, ROTATIONS, Description, Layer, Lookup, Tap
from app.restoration.published_files import Hparams, Imported, read_table

_MULUT = re.compile(r"LUT_.*_s(?P<stage>\d)_(?P<pattern>[sdy])\.npy")
_SRLUT = re.compile(r"Model_(?P<pattern>S)_x\d_4bit_int8\.npy")
_TURNS = len(ROTATIONS)
_HALF = 127.0  # the middle gray of a layer without a residual
_SIDES = (3, 5, 7)  # of the neighbourhoods of RC-LUT
_WINDOW = (-1, 0, 1)  # rows and columns that a look-up of EC-LUT contributes to
_COLOURS = "rgb"


def describe_mulut(hparams: Hparams) -> Description:
    """Describe MuLUT, SR-LUT and models trained here: a chain of layers.

    Tables: `stageN_PATTERN`.

    Args:
        hparams: `scale`, the `patterns` and `denominators` of the stages; `biases` (0), `padding`,
            `residual` and, with DFC's compression, `diagonal`.
    """
    patterns, denominators = hparams["patterns"], hparams["denominators"]
    biases = hparams.get("biases") or [0.0] * len(patterns)
    layers = [
        Layer(
            f"stage{number}",
            _lookups(f"stage{number}", names),
            float(denominator),
            float(bias),
            reads=(number - 1,),
            scale=int(hparams["scale"]) if number == len(patterns) else 1,
            padding=hparams.get("padding", "edge"),
            residual=bool(hparams.get("residual", False)),
            diagonal=int(hparams.get("diagonal", 0)),
        )
        for number, (names, denominator, bias) in enumerate(
            zip(patterns, denominators, biases, strict=True), 1
        )
    ]
    return Description(tuple(layers))


def describe_spflut(hparams: Hparams) -> Description:
    """Describe SPF-LUT (CVPR 2024): maps of four stages, merged by a table over channels.

    Entries of the stages 1 to 3 hold two values: the first is kept, the second goes on.
    Tables: `stage1_s`..`stage4_y`, `merge`, and `out0_s`..`out3_y` of the merged maps.

    Args:
        hparams: `scale`; with DFC's compression `diagonal`, of all tables but `merge`.
    """
    diagonal, each = int(hparams.get("diagonal", 0)), float(3 * _TURNS)
    layers, kept, last, made = [], [], 0, 1
    for number in range(1, 5):
        maps = 2 if number < 4 else 1
        lookups = _lookups(f"stage{number}", "sdy")
        layers.append(
            Layer(
                f"stage{number}",
                lookups,
                each,
                _HALF,
                reads=(last,),
                maps=maps,
                diagonal=diagonal,
                follows=(0,) * maps,
            )
        )
        kept.append(made)
        made += maps
        last = made - 1
    taps = tuple(Tap(0, 0, channel) for channel in range(4))
    merge = Lookup("merge", taps, (0,))
    layers.append(
        Layer("merge", (merge,), 1.0, _HALF, reads=tuple(kept), maps=4, follows=(0, 1, 2, 3))
    )
    groups = [_lookups(f"out{channel}", "sdy", channel) for channel in range(4)]
    layers.append(
        Layer(
            "out",
            tuple(lookup for group in groups for lookup in group),
            each,
            reads=tuple(range(made, made + 4)),
            scale=int(hparams["scale"]),
            diagonal=diagonal,
        )
    )
    return Description(tuple(layers))


def describe_dnlut(_: Hparams) -> Description:
    """Describe DnLUT (CVPR 2025): noise of colour images, by pairs of channels and L shapes.

    The layers are M-V-V-V-Q-V-M-V. M mixes each channel with the one after it, V reads three
    pixels of one channel, and Q merges the maps of the three Vs before it.
    Tables: `m1_r`, `m1_g`, `m1_b`, likewise `m2` and `q`; `v1`..`v5`.
    """
    layers: list[Layer] = []

    def add(make: Callable[[int], Layer]) -> tuple[int, ...]:
        first = 3 + len(layers)
        layers.extend(make(number) for number in range(3))
        return first, first + 1, first + 2

    def mix(name: str, maps: Sequence[int]) -> tuple[int, ...]:
        taps = (Tap(0, 0, 1), Tap(0, 1, 1), Tap(0, 1, 0), Tap(0, 0, 0))

        def make(colour: int) -> Layer:
            lookup = Lookup(f"{name}_{_COLOURS[colour]}", taps)
            reads = maps[colour], maps[(colour + 1) % 3]
            return Layer(name, (lookup,), _TURNS, _HALF, reads=reads, follows=(3,))

        return add(make)

    def curve(name: str, maps: Sequence[int], denominator: float, bias: float) -> tuple[int, ...]:
        lookup = Lookup(name, PATTERNS["v"])
        return add(lambda it: Layer(name, (lookup,), denominator, bias, reads=(maps[it],)))

    def merge(maps: Sequence[Sequence[int]]) -> tuple[int, ...]:
        taps = tuple(Tap(0, 0, channel) for channel in range(len(maps)))

        def make(colour: int) -> Layer:
            lookup = Lookup(f"q_{_COLOURS[colour]}", taps, (0,))
            reads = tuple(it[colour] for it in maps)
            return Layer("q", (lookup,), 1, _HALF, reads=reads, follows=(len(maps) - 1,))

        return add(make)

    first = curve("v1", mix("m1", (0, 1, 2)), _TURNS, _HALF)
    second = curve("v2", first, _TURNS, _HALF)
    third = curve("v3", second, _TURNS, _HALF)
    merged = curve("v4", merge((first, second, third)), _TURNS, _HALF)
    curve("v5", mix("m2", merged), 1, 0)
    return Description(tuple(layers), channels=3)


def describe_rclut(hparams: Hparams) -> Description:
    """Describe RC-LUT (ICCV 2023): wide neighbourhoods by sums of one-dimensional tables.

    The published code is not the network of the paper. Taken from the paper: a branch for each
    side n of 3, 5 and 7, with a table for each of the n * n pixels; their mean goes through tanh
    and is rounded, and a table of 2 x 2 pixels follows. Guesses: that entries are 1/127, that the
    branches are averaged, and that the pixel itself is added to the result.
    Tables: `sumN_YX` of 256 entries, and `outN_s`.

    Args:
        hparams: `scale`.
    """
    layers = []
    for side in _SIDES:
        offsets = [(y, x) for y in range(side) for x in range(side)]
        taps = {f"sum{side}_{y}{x}": Tap(y - side // 2, x - side // 2) for y, x in offsets}
        lookups = tuple(Lookup(name, (tap,), (0,)) for name, tap in taps.items())
        layers.append(
            Layer(f"sum{side}", lookups, side**2, _HALF, interpolated=False, squashed=True)
        )
    last = [_lookups(f"out{side}", "s", channel) for channel, side in enumerate(_SIDES, 1)]
    layers.append(
        Layer(
            "out",
            tuple(lookup for group in last for lookup in group),
            _TURNS * len(_SIDES),
            reads=(0, 1, 2, 3),
            scale=int(hparams["scale"]),
            residual=True,
        )
    )
    return Description(tuple(layers))


def describe_eclut(hparams: Hparams) -> Description:
    """Describe EC-LUT (AAAI 2024): look-ups that predict a pixel and its surroundings.

    There is neither code nor a table; this follows the abstract, which states that the output of
    a look-up covers the pixel and its surroundings, that overlapping windows are summed, and that
    the sum has an expanded range and is rescaled. Guesses: the pattern (2 x 2 pixels), no
    interpolation and no rotations (the upper four bits index the table), windows of 3 x 3 input
    pixels, and that the sum is a correction of the pixel, which entries of 1 change by `unit`.

    The table is stored as nine, one for each cell of the window; each is read where its window
    covers the pixel. Tables: `window_YX` of 16 ** 4 entries.

    Args:
        hparams: `scale`, and `unit` in levels.
    """
    lookups = [
        Lookup(
            f"window_{1 + dy}{1 + dx}",
            tuple(Tap(tap.dy - dy, tap.dx - dx) for tap in PATTERNS["s"]),
            (0,),
        )
        for dy in _WINDOW
        for dx in _WINDOW
    ]
    layer = Layer(
        "window",
        tuple(lookups),
        1 / float(hparams["unit"]),
        scale=int(hparams["scale"]),
        residual=True,
        interpolated=False,
    )
    return Description((layer,))


DESCRIPTIONS: dict[str, Callable[[Hparams], Description]] = {
    "mulut": describe_mulut,
    "cleaner": describe_mulut,  # of each set of its tables
    "sr-lut": describe_mulut,
    "spf-lut": describe_spflut,
    "dnlut": describe_dnlut,
    "rc-lut": describe_rclut,
    "ec-lut": describe_eclut,
}


def build_described(method: str, tables: Tables, hparams: Hparams) -> Model:
    """Build a model of one of `DESCRIPTIONS`.

    Raises:
        BadModel: a table is missing, or does not fit.
    """
    describe = DESCRIPTIONS[method]
    if describe is describe_mulut:
        hparams = _complete(tables, hparams)
    return build(describe(hparams), tables)


def _complete(tables: Tables, hparams: Hparams) -> Hparams:
    """Add to the hparams of MuLUT what its tables state: the patterns and the scale."""
    patterns: list[list[str]] = []
    for number in range(1, len(hparams["denominators"]) + 1):
        prefix = f"stage{number}_"
        patterns.append([it.removeprefix(prefix) for it in tables if it.startswith(prefix)])
        if not patterns[-1]:
            raise BadModel(f"the tables of stage {number} are missing")
    values = tables[f"stage{len(patterns)}_{patterns[-1][0]}"].shape[-1]
    return {"patterns": patterns, "scale": round(values**0.5)} | hparams


def import_mulut(files: Sequence[Path]) -> Imported | None:
    """Read LUT_*_sN_PATTERN.npy; None if these are other files."""
    matches = {path: match for path in files if (match := _MULUT.fullmatch(path.name))}
    if len(matches) != len(files):
        return None
    tables = {f"stage{it['stage']}_{it['pattern']}": read_table(at) for at, it in matches.items()}
    count = max(int(it["stage"]) for it in matches.values())
    each = 4.0 * len(tables) / count  # rotations and patterns
    hparams: Hparams = {
        "denominators": [each] * (count - 1) + [each / 4],
        "biases": [127.0] * (count - 1) + [0.0],
    }
    return Imported("mulut", tables, hparams)


def import_srlut(files: Sequence[Path]) -> Imported | None:
    """Read Model_S_xN_4bit_int8.npy; None if this is another file."""
    if len(files) != 1 or not _SRLUT.fullmatch(files[0].name):
        return None
    table = read_table(files[0])
    hparams: Hparams = {"denominators": [1.0], "biases": [0.0], "padding": "reflect"}
    return Imported("sr-lut", {"stage1_s": table}, hparams)


def _lookups(name: str, patterns: Iterable[str], channel: int = 0) -> tuple[Lookup, ...]:
    """Return lookups of the tables NAME_PATTERN in one of the maps that a layer reads."""
    return tuple(
        Lookup(f"{name}_{it}", tuple(tap._replace(channel=channel) for tap in PATTERNS[it]))
        for it in patterns
    )
