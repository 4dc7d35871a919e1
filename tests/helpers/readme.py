"""The generated tables of the README and of docs/settings.md; `make readme` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from app.imaging.codecs import ImageFormat
from app.luts.formats import LutFormat
from app.settings import Settings
from tests.helpers.paths import ROOT

README = ROOT / "README.md"
PAGES = {README: ("image formats", "LUT formats"), ROOT / "docs/settings.md": ("settings",)}


def tables() -> dict[str, str]:
    """Return each generated table by the name in the comment that begins it."""
    return {
        "image formats": _table(
            ("`format`", "media type", "suffixes", "written with", "default quality"),
            map(_image_format_row, ImageFormat),
        ),
        "LUT formats": _table(
            ("`format`", "file", "holds a shaper"),
            ((f"`{it}`", it.codec.description, _yes(it.codec.holds_shaper)) for it in LutFormat),
        ),
        "settings": _table(
            ("variable", "default", "effect"),
            ((f"`{name}`", f"`{value}`", text) for name, value, text in Settings.variables()),
        ),
    }


def render(page: Path) -> str:
    """Return the text of a page with its generated tables up to date."""
    text, current = page.read_text(), tables()
    for name in PAGES[page]:
        table = current[name]
        pattern = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, table=table: match[1] + table + match[2], text)
        assert count == 1, f"{page.name} has {count} places for the table {name}"
    return text


def _image_format_row(member: ImageFormat) -> tuple[str, ...]:
    codec = member.codec
    written, quality = "read only", ""
    if member.encodable:
        written = f"{codec.bit_depth} bits" + (", alpha" if codec.has_alpha else "")
        palettes = codec.animation is not None and codec.animation.map_palettes is not None
        lossless = "256 colours a frame" if palettes else "lossless"
        quality = str(codec.default_quality or lossless)
        written += ", animations" * (codec.animation is not None)
    return f"`{codec.name}`", codec.media_type, " ".join(codec.suffixes), written, quality


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(render(page))
