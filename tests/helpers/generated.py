"""What schemathesis cannot make of a schema: photographs, and tokens of looks."""

from __future__ import annotations

import numpy as np
import schemathesis
from hypothesis import strategies as st

from app.luts.token import LookToken
from app.main import create_service
from app.settings import Settings
from tests.helpers.files import one_of_each

_PHOTOS = st.sampled_from(list(one_of_each().values()))
_MODEL = create_service(Settings()).models.registry.default
_TOKEN = LookToken(_MODEL.card.fingerprint, np.zeros(_MODEL.network.code_size, np.float32))

# Any content type is read, and what a photograph is, its bytes decide.
for _subtype in ("jpeg", "png", "webp", "avif", "tiff", "bmp", "heif", "gif", "jxl"):
    schemathesis.openapi.media_type(f"image/{_subtype}", _PHOTOS)
schemathesis.openapi.media_type("application/octet-stream", _PHOTOS)
schemathesis.openapi.format("binary", _PHOTOS)  # the part of a form
schemathesis.openapi.format("look-token", st.just(_TOKEN.encode(half=False)))
