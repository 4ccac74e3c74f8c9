"""Addresses are 16 bytes; IPv4 is v4-mapped (RFC 4291 section 2.5.5.2).

`scope` is our own explicit table: Python's `is_private` and `is_global` change between versions,
call the documentation networks private and multicast global (requirements F11).
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from enum import StrEnum

V4_MAPPED = b"\x00" * 10 + b"\xff\xff"
UNSPECIFIED = b"\x00" * 16


class Scope(StrEnum):
    """What kind of place an address can name."""

    PUBLIC = "public"
    PRIVATE = "private"
    INFRASTRUCTURE = "infrastructure"
    UNROUTABLE = "unroutable"


def pack(text: str) -> bytes:
    """Return the 16 bytes of an IPv4 or IPv6 text; a zone suffix (`%eth0`) is dropped.

    Raises:
        ValueError: the text is not an address.
    """
    try:
        if ":" in text:
            return socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
        return V4_MAPPED + socket.inet_pton(socket.AF_INET, text)
    except OSError:
        raise ValueError(f"{text!r} is not an IP address") from None


def unpack(packed: bytes) -> str:
    """Return the text of a 16-byte address; v4-mapped addresses print as IPv4."""
    if packed.startswith(V4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def family(packed: bytes) -> int:
    """Return 4 for a v4-mapped address, else 6."""
    return 4 if packed.startswith(V4_MAPPED) else 6


def network(text: str) -> tuple[bytes, bytes]:
    """Return the first and last address of a CIDR block (a bare address is its own block).

    Raises:
        ValueError: not a CIDR block, or host bits are set.
    """
    base, slash, length_text = text.partition("/")
    first = pack(base)
    width = 32 if ":" not in base else 128
    if slash and not length_text.isdecimal():
        raise ValueError(f"{text!r} is not a CIDR block")
    length = int(length_text) if slash else width
    if length > width:
        raise ValueError(f"{text!r}: prefix length over {width}")
    mask = (1 << (width - length)) - 1
    start = int.from_bytes(first)
    if start & mask:
        raise ValueError(f"{text!r} has host bits set")
    return first, (start | mask).to_bytes(16)


# First match wins. Sources: IANA special-purpose registries; AWS, Azure and GCP metadata pages.
_TABLE: tuple[tuple[str, Scope], ...] = (
    ("169.254.169.254", Scope.INFRASTRUCTURE),  # instance metadata, all clouds
    ("169.254.169.253", Scope.INFRASTRUCTURE),  # Amazon DNS resolver
    ("169.254.169.123", Scope.INFRASTRUCTURE),  # Amazon Time Sync
    ("169.254.170.2", Scope.INFRASTRUCTURE),  # ECS task credentials
    ("169.254.170.23", Scope.INFRASTRUCTURE),  # EKS Pod Identity
    ("169.254.20.10", Scope.INFRASTRUCTURE),  # node-local DNS cache
    ("168.63.129.16", Scope.INFRASTRUCTURE),  # Azure WireServer: globally routable, never egress
    ("fd00:ec2::254", Scope.INFRASTRUCTURE),
    ("fd00:ec2::253", Scope.INFRASTRUCTURE),
    ("fd00:ec2::123", Scope.INFRASTRUCTURE),
    ("fd00:ec2::23", Scope.INFRASTRUCTURE),
    ("0.0.0.0/8", Scope.UNROUTABLE),  # RFC 1122
    ("127.0.0.0/8", Scope.UNROUTABLE),
    ("169.254.0.0/16", Scope.INFRASTRUCTURE),  # RFC 3927 link-local
    ("224.0.0.0/4", Scope.UNROUTABLE),  # multicast
    ("240.0.0.0/4", Scope.UNROUTABLE),  # reserved, broadcast
    ("10.0.0.0/8", Scope.PRIVATE),  # RFC 1918
    ("172.16.0.0/12", Scope.PRIVATE),
    ("192.168.0.0/16", Scope.PRIVATE),
    ("100.64.0.0/10", Scope.PRIVATE),  # RFC 6598
    ("192.0.0.0/24", Scope.UNROUTABLE),  # RFC 6890
    ("0.0.0.0/0", Scope.PUBLIC),
    ("::/128", Scope.UNROUTABLE),
    ("::1/128", Scope.UNROUTABLE),
    ("64:ff9b::/96", Scope.PUBLIC),  # RFC 6052: the far end of a NAT64
    ("fe80::/10", Scope.INFRASTRUCTURE),
    ("ff00::/8", Scope.UNROUTABLE),
    ("fc00::/7", Scope.PRIVATE),  # RFC 4193
    ("2000::/3", Scope.PUBLIC),
    ("::/0", Scope.UNROUTABLE),
)


def _flatten() -> tuple[list[bytes], list[Scope]]:
    """Return disjoint range starts and their scopes, earlier table rows winning."""
    blocks = [(*network(text), scope) for text, scope in _TABLE]
    edges = {UNSPECIFIED}
    for first, last, _ in blocks:
        edges.add(first)
        if last != b"\xff" * 16:
            edges.add((int.from_bytes(last) + 1).to_bytes(16))
    starts: list[bytes] = []
    scopes: list[Scope] = []
    for edge in sorted(edges):
        found = next(scope for first, last, scope in blocks if first <= edge <= last)
        if not scopes or scopes[-1] is not found:
            starts.append(edge)
            scopes.append(found)
    return starts, scopes


SCOPE_STARTS, SCOPE_VALUES = _flatten()


def scope(packed: bytes) -> Scope:
    """Return what kind of place a 16-byte address names.

    The documentation networks (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24) count as public.
    """
    return SCOPE_VALUES[bisect_right(SCOPE_STARTS, packed) - 1]
