"""Values that schemathesis cannot generate from a schema: images and look tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import BadParameter
from app.luts.export import LutOptions
from app.luts.token import LookToken
from app.main import create_service
from app.settings import Settings
from tests.helpers.files import one_of_each

_PHOTOS = st.sampled_from(list(one_of_each().values()))
_MODEL = create_service(Settings()).models.registry.default
_TOKEN = LookToken(_MODEL.card.fingerprint, np.zeros(_MODEL.network.code_size, np.float32))

# Every content type is accepted: the format is detected from the content.
for _subtype in ("jpeg", "png", "webp", "avif", "tiff", "bmp", "heif", "gif", "jxl", "apng"):
    schemathesis.openapi.media_type(f"image/{_subtype}", _PHOTOS)
schemathesis.openapi.media_type("application/octet-stream", _PHOTOS)
schemathesis.openapi.format("binary", _PHOTOS)  # the part of a form
schemathesis.openapi.format("look-token", st.just(_TOKEN.encode(half=False)))


@schemathesis.hook
def before_call(_: Any, case: schemathesis.Case, __: dict[str, Any]) -> None:
    """Drop sizes, depths and directions that another format allows: no schema states which does."""
    fields = {name: case.query[name] for name in LutOptions.model_fields if name in case.query}
    try:
        LutOptions.model_validate(fields).require_supported()
    except BadParameter:
        for name in ("size", "depth", "green"):
            case.query.pop(name, None)
    except ValidationError:
        pass  # other invalid queries are what is tested
