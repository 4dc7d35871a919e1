"""Asking a running service how it is: what a container's health check calls.

It comes every few seconds, so `python -m app.cli.health` imports nothing of the service, whose
libraries take seconds to load.
"""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 5.0  # seconds


def health() -> None:
    """Ask the service on this machine whether requests are welcome; fail if they are not."""
    url = f"http://127.0.0.1:{os.environ.get('CLUT_HTTP_PORT', '8000')}/readyz"
    try:
        with urlopen(url, timeout=PATIENCE):
            print("ready")  # noqa: T201 -- a command's answer
    except (URLError, OSError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    health()
