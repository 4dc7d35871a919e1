"""The command line, in the tests' own process or in a process of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from typer.testing import CliRunner

from app.cli.main import create_cli
from tests.helpers.server import Fork

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
    """Run a command in a process of its own, a fork of one that has imported everything.

    Raises:
        TimeoutError: the command did not end.
    """
    command = [*map(str, arguments)]
    with TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = Fork(command, os.environ | environment, output, errors)
        try:
            status = process.wait(PATIENCE)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, status, output.read_text(), errors.read_text())
