"""Health check of a running service, as a container runs it.

A container runs `python -m app.cli.health` every few seconds, so this module imports the standard
library alone.
"""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

TIMEOUT = 5.0  # seconds

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 -- the server's, not ours


def health() -> None:
    """Check that the service accepts requests.

    The service is on this machine; CLUT_HTTP_HOST and CLUT_HTTP_PORT are its settings. Exits with 1
    if it does not accept requests.
    """
    host = os.environ.get("CLUT_HTTP_HOST", "127.0.0.1")
    host = _LOOPBACK.get(host, f"[{host}]" if ":" in host else host)
    url = f"http://{host}:{os.environ.get('CLUT_HTTP_PORT', '8000')}/readyz"
    opener = build_opener(ProxyHandler({}))  # http_proxy is for other hosts
    try:
        with opener.open(url, timeout=TIMEOUT):
            print("ready")  # noqa: T201 -- the output of a command
    except (URLError, OSError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    health()
