"""The query parameters that only HTTP has; all others are declared in `app.serving.options`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.luts.export import LutOptions
from app.serving.options import LOOK_TOKEN, PredictLutOptions


class GetLutQuery(LutOptions):
    """Which LUT is rebuilt, and how it is written."""

    token: str = Field(
        json_schema_extra=LOOK_TOKEN,
        description="A look token, the X-Look of an earlier response.",
    )


class NoQuery(BaseModel, extra="forbid"):
    """No parameters at all."""


def lut_options(query: PredictLutOptions | GetLutQuery) -> LutOptions:
    """Return the part of a query that determines how a LUT is written."""
    return LutOptions.model_validate(
        {name: getattr(query, name) for name in LutOptions.model_fields}
    )
