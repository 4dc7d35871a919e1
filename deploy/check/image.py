"""Build the Dockerfile and run the image, without a Docker engine.

Run `make image-check` as root on Debian. buildah executes every step (chroot isolation, vfs
storage) on a base that debootstrap makes and that is tagged as the FROM image. The image is then
started with its own user, a read-only root and a tmpfs on /tmp. Its health check passes, it
enhances an image, and it exits with 0. The sizes and times that it prints are those of
docs/operations.md.

The build uses the configuration of this machine's pip: the configuration and the local files that
it names are mounted during the build. TORCH_INDEX chooses the index as in the Dockerfile. CACHE is
the folder of the base, the storage and the running image; it takes 6 GB.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("CACHE", Path.home() / ".cache" / "clut-enhance-image"))
BASE, IMAGE = "docker.io/library/debian:12-slim", "localhost/clut-enhance"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
PHOTO = ROOT / "tests" / "photos" / "lake.jpg"
SLIM = {  # as in the published image
    "etc/apt/apt.conf.d/docker-clean": """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
""",
    "etc/dpkg/dpkg.cfg.d/docker": """\
path-exclude /usr/share/doc/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
""",
}
MOUNTED = "/mounted"  # folder of this machine's files during the build
MAX_SIZE = 1300  # MB unpacked, of the image for CPUs
PATIENCE = 90.0  # seconds

BUILDAH = ("buildah", "--storage-driver", "vfs", "--root", f"{CACHE}/storage")
RUNROOT = ("--runroot", f"{CACHE}/run")


def buildah(*arguments: str) -> str:
    """Run buildah on its own storage and return its standard output."""
    command = [*BUILDAH, *RUNROOT, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the time that a step takes."""
    begun = perf_counter()
    yield
    print(f"{what}: {perf_counter() - begun:.0f} s", flush=True)


def make_base() -> None:
    """Make a minimal Debian under the name of the FROM image."""
    if BASE in buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        return
    folder = CACHE / "debian"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["debootstrap", "--variant=minbase", SUITE, folder, MIRROR], check=True)
    for path, text in SLIM.items():
        (folder / path).write_text(text)
    for path in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt"):
        shutil.rmtree(folder / path)
        (folder / path).mkdir()
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(folder), "/")
    buildah("commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(folder)


def pip_volumes() -> Iterator[str]:
    """Yield the volumes of this machine's pip configuration and the local paths that it names."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    settings = dict(line.split("=", 1) for line in listing.splitlines())
    named = re.findall(r"(?:file://)?(/[^\s'\"]+)", " ".join(settings.values()))
    paths = sorted({path for path in named if Path(path).exists()}, key=len, reverse=True)
    for key in settings:
        for path in paths:
            settings[key] = re.sub(rf"{path}(?=$|['\s])", f"{MOUNTED}{path}", settings[key])
    config = CACHE / "pip.conf"
    lines = {f"{key.split('.')[1]} = {value.strip(chr(39))}" for key, value in settings.items()}
    config.write_text("\n".join(["[global]", *sorted(lines)]) + "\n")
    yield f"{config}:/etc/pip.conf:ro"
    for path in paths:  # a simple index refers to files beside it
        folder = path.removesuffix("/simple")
        yield f"{folder}:{MOUNTED}{folder}:ro"


def build() -> None:
    """Execute the Dockerfile."""
    arguments = ["--isolation", "chroot", "--pull-never", "--format", "docker", "--tag", IMAGE]
    for volume in pip_volumes():
        arguments += ["--volume", volume]
    if "TORCH_INDEX" in os.environ:
        arguments += ["--build-arg", f"TORCH_INDEX={os.environ['TORCH_INDEX']}"]
    subprocess.run([*BUILDAH, *RUNROOT, "bud", *arguments, ROOT], check=True)


def sizes(folder: Path) -> None:
    """Print the largest folders; exit if the image is larger than `MAX_SIZE`."""
    listing = subprocess.run(
        ["du", "--block-size=1000000", "--max-depth=6", folder], check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    rows = [line.split("\t") for line in listing.splitlines()]
    for size, path in sorted(rows, key=lambda row: -int(row[0])):
        if int(size) >= 15:
            print(f"{size:>6} MB {path.removeprefix(str(folder)) or '/'}")
    total = int(rows[-1][0])
    if total > MAX_SIZE:
        raise SystemExit(f"the image takes {total} MB, more than {MAX_SIZE}")


class Sandbox:
    """Runs commands in an image with its user, its environment and a read-only root."""

    def __init__(self, folder: Path) -> None:
        inspected: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", IMAGE))
        self._config = inspected["Docker"]["config"]
        self._folder = folder

    @property
    def health_check(self) -> list[str]:
        """Return the command of HEALTHCHECK."""
        kind, *command = self._config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return list(command)

    @property
    def command(self) -> list[str]:
        """Return ENTRYPOINT and CMD."""
        return [*self._config["Entrypoint"], *self._config["Cmd"]]

    def start(self, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start a command in its own mount namespace."""
        folder, user = self._folder, self._config["User"]
        mounts = (
            f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && "
            f"mount -t tmpfs tmpfs {folder}/tmp && "  # noqa: S108 -- the folder of the image
            f"mount -t proc proc {folder}/proc && "
            f'cd {folder} && exec chroot --userspec={user} {folder} "$@"'
        )
        inside = ["/usr/bin/env", "-C", self._config["WorkingDir"], *command]
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mounts, "sh", *inside],
            env=dict(item.split("=", 1) for item in self._config["Env"]) | environment,
        )


def until_ready(service: subprocess.Popen[bytes], client: httpx.Client) -> None:
    """Wait until the service is ready; exit if it is not in time."""
    give_up = monotonic() + PATIENCE
    while monotonic() < give_up and service.poll() is None:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.ConnectError:
            pass
        sleep(0.2)
    raise SystemExit("the service did not become ready")


def try_out(sandbox: Sandbox) -> None:
    """Start the service, run its health check, enhance an image, and stop it."""
    port = "18000"
    with (
        timed("start until ready"),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        service = sandbox.start(
            sandbox.command, CLUT_HTTP_PORT=port, CLUT_AUTH_ALLOW_ANONYMOUS="true"
        )
        try:
            until_ready(service, client)
        except BaseException:
            service.kill()
            raise
    try:
        assert sandbox.start(sandbox.health_check, CLUT_HTTP_PORT=port).wait(PATIENCE) == 0
        with timed("two photos"):
            for kind in ("jpeg", "png"):
                url = f"http://127.0.0.1:{port}/enhance"
                response = httpx.post(
                    url, params={"format": kind}, content=PHOTO.read_bytes(), timeout=PATIENCE
                )
                response.raise_for_status()
        rss = Path(f"/proc/{service.pid}/status").read_text().split("VmHWM:")[1].split()[0]
        print(f"peak memory: {int(rss) / 1000:.0f} MB")
    finally:
        service.send_signal(signal.SIGTERM)
        ended = service.wait(PATIENCE)
    assert ended == 0, f"the service ended with {ended}"
    assert sandbox.start(sandbox.health_check, CLUT_HTTP_PORT=port).wait(PATIENCE) == 1


def main() -> None:
    """Build, measure, run."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with timed("base"):
        make_base()
    with timed("build"):
        build()
    container = buildah("from", "--pull-never", IMAGE)
    try:
        folder = Path(buildah("mount", container))
        for name in ("LICENSE", "NOTICE"):
            assert (folder / "srv" / "clut" / name).stat().st_size, f"{name} is missing"
        sizes(folder)
        try_out(Sandbox(folder))
    finally:
        buildah("rm", container)
    print("the image passed all checks")


if __name__ == "__main__":
    main()
