"""Every setting: one frozen policy for each part of the service.

The description of a field states the consequence of changing it. Importing this module loads
pydantic and the standard library alone, so that the command line starts quickly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

# Beside this package in a checkout, and beside it in site-packages, where the wheel puts it.
STORE = Path(__file__).parent.parent / "model_store"

Interpolation = Literal["tetrahedral", "trilinear"]

BYTES_PER_PIXEL = 18  # of a JPEG; see `EncodedImage.peak_bytes`
NICENESS = 10  # of worker threads and of the sandbox: probes and rejections run before them


class Policy(BaseModel):
    """A group of settings that cannot be changed and has no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpPolicy(Policy):
    """Listening address and shutdown."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. 0.0.0.0 accepts connections from other machines and "
        "requires API keys or CLUT_AUTH_ALLOW_ANONYMOUS.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 lets the system choose.")
    allowed_hosts: list[str] = Field(
        default=[],
        description='Host names in the Host header that are served, as JSON: ["photos.example", '
        '"*.svc"]; others are rejected with 421, against DNS rebinding. IP addresses and localhost '
        "are always served. Empty serves no other name on a loopback address, and every name on "
        "any other address.",
    )
    drain_seconds: NonNegativeFloat = Field(
        default=0.0,
        description="Seconds that the server goes on accepting requests after SIGTERM while "
        "/readyz already returns 503, so that load balancers can stop sending. Set 5 to 15 behind "
        "a load balancer.",
    )
    graceful_timeout: NonNegativeInt = Field(
        default=35,
        description="Seconds that requests in flight may take once the server has stopped "
        "listening; then they are cut off. Keep it above CLUT_ADMISSION_DEADLINE and below the "
        "time after which the container runtime kills the process.",
    )


class ConnectionPolicy(Policy):
    """Limits of each connection before and between requests."""

    max: PositiveInt = Field(
        default=1000,
        description="Concurrent connections; further ones are served only if they are probes, and "
        "closed otherwise. Each takes a file descriptor: keep it well below `ulimit -n`. The port "
        "of CLUT_METRICS_PORT counts its own.",
    )
    max_header_bytes: int = Field(
        default=65536,
        ge=1024,
        description="Maximum size of a request line with its headers; larger ones are rejected "
        "with 431. A look token or a cookie of a few kilobytes has to fit.",
    )
    header_timeout: PositiveFloat = Field(
        default=10.0,
        description="Seconds in which a connection must send the headers of a request, counted "
        "from when it is opened or the first byte of a further request; then it is closed.",
    )
    keep_alive_timeout: PositiveFloat = Field(
        default=75.0,
        description="Seconds that a connection may be idle after a response; then it is closed. "
        "Keep it above the idle time after which proxies close their connections, usually 60, or "
        "a proxy may send a request on a connection that is being closed.",
    )
    write_timeout: PositiveFloat = Field(
        default=30.0,
        description="Seconds that a response may wait for its client to read any of it; then the "
        "connection is closed and the memory of the response is released.",
    )
    min_read_rate: PositiveInt = Field(
        default=16 * 2**10,
        description="Bytes per second that a client has to read of a large response, on average "
        "over 256 KiB; a slower one is disconnected, since its response occupies memory.",
    )


class PagePolicy(Policy):
    """The page at /."""

    enabled: bool | None = Field(
        default=None,
        description="True serves the page at / with its files at /static, which anyone who reaches "
        "the port can load; its requests need API keys as others do. False removes both, and / "
        "redirects to /docs. None serves it on a loopback address alone.",
    )


class MetricsPolicy(Policy):
    """A separate port for metrics and probes."""

    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port for /metrics and the probes alone, without authentication; /metrics is "
        "then not served on the main port. None serves it on the main port, where API keys need "
        "the scope metrics.",
    )
    host: str = Field(default="127.0.0.1", description="Address of that port.")


class LogPolicy(Policy):
    """Logging."""

    requests: bool = Field(default=True, description="Log one line for each admitted request.")


class UploadPolicy(Policy):
    """Limits of request bodies."""

    max_bytes: PositiveInt = Field(
        default=64 * 2**20,
        description="Maximum size of a request body; larger ones are rejected with 413.",
    )
    budget_bytes: PositiveInt = Field(
        default=2**30,
        description="Maximum size of all request bodies in memory together, from the first byte "
        "to the response; requests that would exceed it are rejected with 503.",
    )
    timeout: PositiveFloat = Field(
        default=60.0,
        description="Seconds in which a request body must arrive; then it is rejected with 408.",
    )
    min_rate: PositiveInt = Field(
        default=16 * 2**10,
        description="Bytes per second that a client has to send of a body beyond 256 KiB, on "
        "average over 256 KiB; a slower one is rejected with 408, since its body occupies memory.",
    )


class ModelsPolicy(Policy):
    """The model store."""

    store: Path = Field(
        default=STORE, description="Folder of NAME/VERSION models; all of them stay in memory."
    )
    default: str = Field(
        default="default",
        description="NAME or NAME@VERSION for requests without `model`; the server does not start "
        "if it is missing.",
    )


class AdmissionPolicy(Policy):
    """Limits of the work in flight."""

    max_requests: PositiveInt = Field(
        default=64,
        description="Requests in flight, including waiting ones; further ones are rejected with "
        "503 and Retry-After. A higher limit makes the queue longer, not the service faster.",
    )
    memory_bytes: PositiveInt = Field(
        default=3584 * 2**20,
        description="Bytes of memory that images, LUT files and responses may take together; a "
        "request that does not fit waits before it is decoded, and one that could never fit is "
        "rejected with 422. A request takes 18 bytes for each pixel of a JPEG, and up to 47 for "
        "each pixel of an image with 16 bits and alpha.",
    )
    deadline: PositiveFloat | None = Field(
        default=30.0,
        description="Seconds that a request may take after its body has arrived; then it is "
        "rejected with 504 and its remaining work is cancelled. None sets no limit.",
    )


class BatchPolicy(Policy):
    """How thumbnails are collected into batches."""

    max_size: int = Field(
        default=4,
        ge=1,
        le=256,
        description="Thumbnails in one run of the network. Larger batches pay on a GPU; on a CPU "
        "they exceed its caches: at 8 a thumbnail costs half as much again.",
    )
    max_wait: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Seconds that an idle device waits for a batch to fill. The wait adds to the "
        "latency of a lone request; batches fill without it while the device is busy.",
    )


class LutPolicy(Policy):
    """The cache of exported LUTs."""

    cache_bytes: NonNegativeInt = Field(
        default=64 * 2**20,
        description="Maximum size of the LUT files in memory, from which repeated requests for a "
        "look token are served; 0 keeps none.",
    )


class DevicePolicy(Policy):
    """The hardware that runs the networks."""

    name: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto, cpu, cuda or cuda:I. auto takes the first CUDA device, or the CPU if "
        "there is none; cuda without a device fails at start.",
    )
    interpolation: Interpolation = Field(
        default="tetrahedral",
        description="tetrahedral is faster, and the interpolation of ffmpeg and OpenColorIO; "
        "the networks were trained with trilinear. They differ by a few levels on few pixels.",
    )
    max_failures: PositiveInt = Field(
        default=10,
        description="Consecutive failed runs of the networks after which /livez returns 503.",
    )


class Limits(Policy):
    """Limits of one image."""

    max_pixels: PositiveInt = Field(
        default=100_000_000,
        description="Images with more pixels are rejected before they are decoded. What an "
        "image takes in memory is limited by CLUT_ADMISSION_MEMORY_BYTES.",
    )
    max_pixels_per_byte: PositiveInt = Field(
        default=1000,
        description="Images of more than 4 megapixels are rejected if they have more pixels than "
        "this for each byte of the file: a body of a kilobyte must not occupy the service for "
        "seconds. Photographs have at most about 200. Scans of 1, 2 or 4 bits may have 8, 4 or 2 "
        "times as many. The frames of an animation count together.",
    )
    max_frames: PositiveInt = Field(
        default=2000,
        description="Animations with more frames are rejected; their first frame is not.",
    )
    max_animation_pixels: PositiveInt = Field(
        default=400_000_000,
        description="Animations with more pixels in all frames together are rejected. They are "
        "decoded and encoded one frame after the other, on one core; what is not ready by "
        "CLUT_ADMISSION_DEADLINE is rejected.",
    )
    max_animation_seconds: PositiveFloat = Field(
        default=600.0, description="Animations that play longer are rejected."
    )
    max_animation_bytes: PositiveInt = Field(
        default=64 * 2**20,
        description="Animations whose result is larger are rejected as soon as it is. The memory "
        "of a request includes it three times.",
    )
    max_profile_bytes: PositiveInt = Field(
        default=4 * 2**20,
        description="Images with a larger ICC profile are rejected; printers' reach 3 MB.",
    )
    max_metadata_bytes: PositiveInt = Field(
        default=16 * 2**20,
        description="Images with more EXIF and XMP are rejected, since kept metadata are parsed "
        "and written again.",
    )
