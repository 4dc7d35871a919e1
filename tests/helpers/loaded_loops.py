"""The inner loops, loaded when this module is imported: processes forked afterwards have them."""

from typing import get_args

from app.luts.apply import Interpolation
from app.serving.device import compile_loops

compile_loops(get_args(Interpolation))
