"""Folders that tests and benchmarks read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent  # the checkout
SHARED = ROOT.parent / "shared"  # published results, weights and pairs, where they are at hand
PHOTOS = ROOT / "tests" / "photos"  # credited in CREDITS.md beside them
