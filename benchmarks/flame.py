"""Where the time goes: `python -m benchmarks.flame OUT.svg` draws a flame graph of full load."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.photos import jpeg
from benchmarks.servers import load, running

MEGAPIXELS, SECONDS, SAMPLES_PER_SECOND = 12, 10, 100


def main(out: Path) -> None:
    """Samples the threads of the server while it is loaded."""
    with running("ours", jpeg(1)) as server, ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, server, "/enhance", body=jpeg(MEGAPIXELS), seconds=SECONDS + 4)
        # The picture has its command for a heading: without the folders of this machine.
        py_spy = os.path.relpath(Path(sys.executable).with_name("py-spy"))
        command = [py_spy, "record", "--threads", "-o", str(out)]
        command += ["-d", str(SECONDS), "-r", str(SAMPLES_PER_SECOND)]
        subprocess.run([*command, "-p", str(server.process.pid)], check=True)
        print(loading.result())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
