"""Where something is: on this machine, or elsewhere and then only over TLS."""

from __future__ import annotations

from urllib.parse import urlsplit

from flowcost.address import network, pack

_LOOPBACK = (network("127.0.0.0/8"), network("::1"))


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`: a name or an address, without a port."""
    if host == "localhost":
        return True
    try:
        packed = pack(host)
    except ValueError:
        return False  # a name like 127.0.0.1.example.org is somebody's
    return any(first <= packed <= last for first, last in _LOOPBACK)


def check_url(url: str) -> None:
    """Refuse a URL that would carry credentials in the clear.

    Raises:
        ValueError: not https, or http to another machine.
    """
    if not url:
        return
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not a URL like https://id.example.org")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{url!r} must be https")
