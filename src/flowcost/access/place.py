"""Where something is: on this machine, or elsewhere and then only over TLS."""

from __future__ import annotations

from urllib.parse import urlsplit

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`."""
    return host in _LOOPBACK or host.startswith("127.")


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
