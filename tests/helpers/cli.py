"""The command line, run within the tests' process: no process has to import everything again."""

from __future__ import annotations

import os
import subprocess
import sys

from typer.testing import CliRunner

from app.cli.main import build_cli

PATIENCE = 200.0  # seconds until a command has ended, on a slow and busy machine


def invoke(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as `run` does, but without a process of its own.

    Raises:
        Exception: the command failed other than by an exit status, as a process would with a
            traceback.
    """
    command = [*map(str, arguments)]
    result = CliRunner().invoke(build_cli(), command, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the console script as a process."""
    return subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
