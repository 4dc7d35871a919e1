"""A flame graph of the service under full load: `python -m benchmarks.flame OUT.svg`."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.photos import make_jpeg
from benchmarks.servers import load, run_server

MEGAPIXELS, SECONDS, SAMPLES_PER_SECOND = 12, 10, 100


def main(out: Path) -> None:
    """Sample the threads of the server under load."""
    with run_server("clut-enhance", make_jpeg(1)) as server, ThreadPoolExecutor(1) as pool:
        body = make_jpeg(MEGAPIXELS)
        loading = pool.submit(load, server, "/enhance", body=body, seconds=SECONDS + 4)
        # The heading of the graph is the command: without absolute folders.
        py_spy = os.path.relpath(Path(sys.executable).with_name("py-spy"))
        command = [py_spy, "record", "--threads", "-o", str(out)]
        command += ["-d", str(SECONDS), "-r", str(SAMPLES_PER_SECOND)]
        subprocess.run([*command, "-p", str(server.process.pid)], check=True)
        print(loading.result())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
