"""Read the settings from the environment: CLUT_<GROUP>_<NAME> sets a field of `app.policies`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.access import AuthPolicy, CorsPolicy, QuotaPolicy, scale_number
from app.policies import (
    BYTES_PER_PIXEL,
    STORE,
    AdmissionPolicy,
    BatchPolicy,
    ConnectionPolicy,
    DevicePolicy,
    HttpPolicy,
    Limits,
    LogPolicy,
    LutPolicy,
    MetricsPolicy,
    ModelsPolicy,
    PagePolicy,
    UploadPolicy,
)

log = logging.getLogger("clut")

PREFIX = "CLUT_"

RENAMED = {  # settings of version 0.1; accepted with a warning until 0.3
    "CLUT_AUTH_OPEN": "CLUT_AUTH_ALLOW_ANONYMOUS",
    "CLUT_CONNECTION_HEAD_BYTES": "CLUT_CONNECTION_MAX_HEADER_BYTES",
    "CLUT_CONNECTION_HEAD_SECONDS": "CLUT_CONNECTION_HEADER_TIMEOUT",
    "CLUT_CONNECTION_STALL_SECONDS": "CLUT_CONNECTION_WRITE_TIMEOUT",
    "CLUT_HTTP_STOP_SECONDS": "CLUT_HTTP_GRACEFUL_TIMEOUT",
    "CLUT_UPLOAD_SECONDS": "CLUT_UPLOAD_TIMEOUT",
    "CLUT_ADMISSION_PIXEL_BUDGET": "CLUT_ADMISSION_MEMORY_BYTES",
    "CLUT_QUOTA_PIXELS": "CLUT_QUOTA_MEMORY_BYTES",
}
IN_PIXELS = ("CLUT_ADMISSION_PIXEL_BUDGET", "CLUT_QUOTA_PIXELS")  # the new ones are in bytes


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
    page: PagePolicy = PagePolicy()
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
    def _check_largest_image_fits(self) -> Self:
        if self.admission.memory_bytes < BYTES_PER_PIXEL * self.image.max_pixels:
            raise ValueError(
                f"CLUT_ADMISSION_MEMORY_BYTES must be at least {BYTES_PER_PIXEL} times "
                "CLUT_IMAGE_MAX_PIXELS, or the largest JPEGs could never be admitted"
            )
        return self

    @classmethod
    def from_environment(cls, http: dict[str, Any] | None = None) -> Self:
        """Read the environment.

        Args:
            http: fields of `HttpPolicy` that take precedence over the environment.

        Raises:
            ValueError: a variable that begins with CLUT_ is not a setting, a renamed setting is
                set under both names, or a value is not accepted (pydantic's ValidationError is a
                ValueError).
        """
        _rename_old_variables()
        known = {variable for variable, _, _ in cls.variables()}
        unknown = [name for name in os.environ if name.startswith(PREFIX) and name not in known]
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no such setting")
        return cls(http=http or {})

    def without_deadline(self) -> Self:
        """Return these settings without a deadline, for files that no client waits for."""
        admission = self.admission.model_copy(update={"deadline": None})
        return self.model_copy(update={"admission": admission})

    @classmethod
    def variables(cls) -> Iterator[tuple[str, str, str]]:
        """Yield every setting as (variable, default, description)."""
        for layer, field in cls.model_fields.items():
            policy = field.default
            for name, setting in type(policy).model_fields.items():
                variable = f"{PREFIX}{layer}_{name}".upper()
                default = "model_store" if setting.default == STORE else str(setting.default)
                yield variable, default, setting.description or ""


def _rename_old_variables() -> None:
    """Move variables with an old name to their new name; child processes inherit the new one.

    Raises:
        ValueError: a setting is set under both names.
    """
    for old, new in RENAMED.items():
        if old not in os.environ:
            continue
        if new in os.environ:
            raise ValueError(f"{old} and {new} are one setting; set {new} alone")
        log.warning("%s is deprecated; set %s instead", old, new)
        value = os.environ.pop(old)
        os.environ[new] = scale_number(value, BYTES_PER_PIXEL) if old in IN_PIXELS else value
