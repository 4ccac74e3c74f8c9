"""DNS answers become names: what a pod asked for when it was given an address.

Only the question is kept as the name: the CNAMEs of a content network say less than what the
workload dialed. Encrypted DNS is invisible here, and then an address simply has no name.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from flowcost.address import V4_MAPPED
from flowcost.agent.bounded import forget_oldest

TYPE_A, TYPE_AAAA, CLASS_IN = 1, 28, 1
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_POINTERS = 16  # RFC 1035 4.1.4 sets no bound; a longer chain is a loop


class Answer(NamedTuple):
    """One address in an answer: 16 bytes, with the seconds it may be cached."""

    address: bytes
    ttl_s: int


def parse(message: bytes) -> tuple[str, list[Answer]]:
    """Return the question's name (lower case, no final dot) and the addresses answered.

    A message that was cut gives what stands before the cut; anything that is no answer to one
    question (RFC 1035 section 4.1) gives an empty name.
    """
    answers: list[Answer] = []
    if len(message) < _HEADER.size:
        return "", answers
    _, flags, questions, count, _, _ = _HEADER.unpack_from(message)
    if not flags & 0x8000 or flags & 0x000F or questions != 1:
        return "", answers
    try:
        name, at = _name(message, _HEADER.size)
        at += 4
        for _ in range(count):
            at = _skip_name(message, at)
            kind, class_, ttl, length = _RECORD.unpack_from(message, at)
            at += _RECORD.size
            data = message[at : at + length]
            at += length
            if class_ != CLASS_IN or len(data) != length:
                continue
            if kind == TYPE_A and length == 4:
                answers.append(Answer(V4_MAPPED + data, ttl))
            elif kind == TYPE_AAAA and length == 16:
                answers.append(Answer(data, ttl))
    except (IndexError, struct.error, ValueError):
        return ("", []) if not answers else (name, answers)
    return name, answers


def _name(message: bytes, at: int) -> tuple[str, int]:
    """Return a name and the offset behind it."""
    labels: list[str] = []
    end = 0
    jumps = 0
    while length := message[at]:
        if length >= 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
            jumps += 1
            if jumps > _POINTERS:
                raise ValueError("compression loop")
            continue
        if length > 63 or at + 1 + length > len(message):
            raise ValueError("label too long")
        labels.append(message[at + 1 : at + 1 + length].decode("ascii", "backslashreplace"))
        at += 1 + length
    return ".".join(labels).lower(), end or at + 1


def _skip_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1


class Names:
    """(owner, address) -> name, for the answer's TTL and a while longer, bounded.

    An owner is who asked (a pod uid, or an address where no pod is known): two pods may know one
    address by two names. Applications keep addresses longer than the TTL says, hence `grace_s`;
    over `limit` the names learnt longest ago go first. `now` arguments are monotonic seconds.
    """

    def __init__(self, *, limit: int = 65_536, grace_s: float = 300.0) -> None:
        self.limit = limit
        self.grace_s = grace_s
        self.evicted = 0
        self._names: dict[tuple[str, bytes], tuple[float, str]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def learn(self, owner: str, message: bytes, now: float) -> int:
        """Take in one DNS answer that `owner` received; return how many addresses it named."""
        name, answers = parse(message)
        if not name:
            return 0
        for answer in answers:
            key = owner, answer.address
            self._names.pop(key, None)
            self._names[key] = now + answer.ttl_s + self.grace_s, name
            if len(self._names) > self.limit:
                self.evicted += forget_oldest(self._names)
        return len(answers)

    def name(self, owner: str, address: bytes, now: float) -> str:
        """Return the name `owner` resolved `address` from; empty if it did not, or long ago."""
        expires, name = self._names.get((owner, address), (0.0, ""))
        return name if now < expires else ""

    def expire(self, now: float) -> None:
        """Forget the names whose time is over."""
        for key in [key for key, (expires, _) in self._names.items() if expires <= now]:
            del self._names[key]
