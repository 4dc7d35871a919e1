"""The environment: settings are read, unknown variables are rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.policies import BYTES_PER_PIXEL
from app.settings import Settings

KEY = {"name": "a", "sha256": "0" * 64, "scopes": ["enhance"]}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLUT_<LAYER>_<NAME> sets the NAME of a LAYER's policy."""
    monkeypatch.setenv("CLUT_BATCH_MAX_SIZE", "4")
    monkeypatch.setenv("CLUT_ADMISSION_MEMORY_BYTES", "4000000000")
    monkeypatch.setenv("CLUT_MODELS_STORE", "models")
    settings = Settings.from_environment()
    assert settings.batch.max_size == 4
    assert settings.admission.memory_bytes == 4_000_000_000
    assert settings.models.store == Path("models")


def test_a_typo_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is almost a setting does not pass silently."""
    monkeypatch.setenv("CLUT_BATCH_MAXSIZE", "4")
    with pytest.raises(ValueError, match="CLUT_BATCH_MAXSIZE: no such setting"):
        Settings.from_environment()


def test_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline can be lifted."""
    monkeypatch.setenv("CLUT_ADMISSION_DEADLINE", "None")
    assert Settings.from_environment().admission.deadline is None


def test_a_value_out_of_range_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of none is rejected."""
    monkeypatch.setenv("CLUT_BATCH_MAX_SIZE", "0")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Settings.from_environment()


def test_the_largest_photograph_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory budget too small for the largest JPEG is rejected."""
    monkeypatch.setenv("CLUT_IMAGE_MAX_PIXELS", "300000000")
    with pytest.raises(ValidationError, match="CLUT_ADMISSION_MEMORY_BYTES"):
        Settings.from_environment()


def test_a_renamed_setting_still_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The old name of a setting is accepted with a warning that gives the new name."""
    monkeypatch.setenv("CLUT_UPLOAD_TIMEOUT", "")  # so that the new name is removed in the end
    monkeypatch.delenv("CLUT_UPLOAD_TIMEOUT")
    monkeypatch.setenv("CLUT_UPLOAD_SECONDS", "7")
    settings = Settings.from_environment()
    assert settings.upload.timeout == 7.0
    assert "CLUT_UPLOAD_SECONDS is deprecated; set CLUT_UPLOAD_TIMEOUT instead" in caplog.text


def test_settings_in_pixels_are_converted_to_bytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The pixel budget and the quota of pixels of version 0.1 become bytes of memory."""
    for name in ("CLUT_ADMISSION_MEMORY_BYTES", "CLUT_QUOTA_MEMORY_BYTES"):
        monkeypatch.setenv(name, "")  # so that the new names are removed in the end
        monkeypatch.delenv(name)
    monkeypatch.setenv("CLUT_ADMISSION_PIXEL_BUDGET", "200000000")
    monkeypatch.setenv("CLUT_QUOTA_PIXELS", "5000 per hour")
    monkeypatch.setenv("CLUT_AUTH_KEYS", json.dumps([KEY | {"pixels": "7/minute"}]))
    settings = Settings.from_environment()
    assert settings.admission.memory_bytes == 200_000_000 * BYTES_PER_PIXEL
    assert settings.quota.memory_bytes == f"{5000 * BYTES_PER_PIXEL} per hour"
    assert settings.auth.keys[0].memory_bytes == f"{7 * BYTES_PER_PIXEL}/minute"
    assert f"the key {KEY['name']!r} has a quota in pixels, which is deprecated" in caplog.text


def test_a_setting_under_both_names_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old and the new name together are ambiguous."""
    monkeypatch.setenv("CLUT_UPLOAD_SECONDS", "7")
    monkeypatch.setenv("CLUT_UPLOAD_TIMEOUT", "8")
    with pytest.raises(ValueError, match="set CLUT_UPLOAD_TIMEOUT alone"):
        Settings.from_environment()


def test_every_setting_is_described() -> None:
    """Each variable has a description, which docs/settings.md lists."""
    assert all(description for _, _, description in Settings.variables())
