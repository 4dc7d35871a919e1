"""Logs: one JSON object a line on standard output, whatever strangers send."""

from __future__ import annotations

import logging
import logging.config
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter


class LogPolicy(BaseModel):
    """What is logged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: bool = Field(
        default=True,
        description="A line for each request that is let in; the metrics count without it, too.",
    )


def configure(policy: LogPolicy) -> None:
    """Sends everything that is logged in this process to standard output, as JSON."""
    logging.captureWarnings(capture=True)
    logging.config.dictConfig(_configuration(policy))


def _configuration(policy: LogPolicy) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": JsonFormatter,  # in ASCII: not even exotic line breaks get through
                "fmt": ["levelname", "name", "message"],
                "timestamp": "time",
                "rename_fields": {"levelname": "level", "name": "logger"},
                # uvicorn says some things twice, once in colours
                "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
            }
        },
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
            }
        },
        "root": {"handlers": ["stdout"], "level": "INFO"},
        "loggers": {
            "clut.request": {"level": "INFO" if policy.requests else "WARNING"},
            # It quotes damaged files, a line for every tag: whoever sends one could fill the disk.
            "tifffile": {"level": "CRITICAL", "propagate": False},
        },
    }
