"""Network addresses in settings and headers."""

from __future__ import annotations

import ipaddress


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to an address or name."""
    return ipaddress.ip_address(host).is_loopback if is_address(host) else host == "localhost"
