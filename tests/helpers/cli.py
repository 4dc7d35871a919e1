"""The command line, in the tests' own process or in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from typer.testing import CliRunner

from app.cli.main import create_cli

PATIENCE = 200.0  # seconds until a command has ended, on a slow and busy machine


def invoke(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which has imported torch already: that takes 3 s.

    Raises:
        Exception: the command raised it; a process would end with a traceback.
    """
    command = [*map(str, arguments)]
    result = CliRunner().invoke(create_cli(), command, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
