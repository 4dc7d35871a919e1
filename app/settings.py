"""Every setting of the service, read from the environment: CLUT_<LAYER>_<NAME>.

Each layer owns its policy; the description of a field states the consequence of changing it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.imaging.probe import Limits
from app.serving.admission import AdmissionPolicy
from app.serving.batching import BatchPolicy
from app.serving.device import DevicePolicy
from app.serving.lut_export import LutPolicy
from app.web.api_keys import AuthPolicy
from app.web.metrics import MetricsPolicy
from app.web.middleware import CorsPolicy
from app.web.observability import LogPolicy
from app.web.protocol import ConnectionPolicy
from app.web.rate_limits import QuotaPolicy
from app.web.run import HttpPolicy
from app.web.uploads import UploadPolicy

PREFIX = "CLUT_"
STORE = Path(__file__).parent.parent / "model_store"


class ModelsPolicy(BaseModel):
    """Which models are served."""

    store: Path = Field(
        default=STORE, description="Folder of NAME/VERSION models; all of them stay in memory."
    )
    default: str = Field(
        default="default",
        description="NAME or NAME@VERSION for requests that do not say; the server does not "
        "start without it.",
    )


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_parse_none_str="None",
        frozen=True,
    )

    http: HttpPolicy = HttpPolicy()
    connection: ConnectionPolicy = ConnectionPolicy()
    auth: AuthPolicy = AuthPolicy()
    quota: QuotaPolicy = QuotaPolicy()
    cors: CorsPolicy = CorsPolicy()
    metrics: MetricsPolicy = MetricsPolicy()
    log: LogPolicy = LogPolicy()
    upload: UploadPolicy = UploadPolicy()
    models: ModelsPolicy = ModelsPolicy()
    admission: AdmissionPolicy = AdmissionPolicy()
    batch: BatchPolicy = BatchPolicy()
    lut: LutPolicy = LutPolicy()
    device: DevicePolicy = DevicePolicy()
    image: Limits = Limits()

    @model_validator(mode="after")
    def _one_photo_fits(self) -> Self:
        if self.admission.pixel_budget < self.image.max_pixels:
            raise ValueError(
                "CLUT_ADMISSION_PIXEL_BUDGET must be at least CLUT_IMAGE_MAX_PIXELS, or the "
                "largest photographs could never be let in"
            )
        return self

    @classmethod
    def from_environment(cls, http: dict[str, Any] | None = None) -> Self:
        """Reads the environment; what is given here goes first.

        Raises:
            ValueError: a variable that begins with CLUT_ is not a setting, or a value is not
                accepted (pydantic's ValidationError is one).
        """
        known = {variable for variable, _, _ in cls.variables()}
        unknown = [name for name in os.environ if name.startswith(PREFIX) and name not in known]
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no such setting")
        return cls(http=http or {})

    def without_deadline(self) -> Self:
        """For files: nobody waits at the other end of a connection, so they may take their time."""
        patient = self.admission.model_copy(update={"deadline": None})
        return self.model_copy(update={"admission": patient})

    @classmethod
    def variables(cls) -> Iterator[tuple[str, str, str]]:
        """Every setting as (variable, default, description)."""
        for layer, field in cls.model_fields.items():
            policy = field.default
            for name, setting in type(policy).model_fields.items():
                variable = f"{PREFIX}{layer}_{name}".upper()
                default = "model_store" if setting.default == STORE else str(setting.default)
                yield variable, default, setting.description or ""
