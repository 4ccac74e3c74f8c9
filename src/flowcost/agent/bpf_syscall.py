"""bpf(2), as the kernel documents it in linux/bpf.h: one function per command used.

Every function raises OSError with the kernel's errno; file descriptors are the caller's to close.
Buffers are packed little-endian, as on every machine the agent runs on.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import NamedTuple

# asm/unistd.h of each architecture.
NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}

(
    MAP_CREATE,
    MAP_LOOKUP,
    MAP_UPDATE,
    MAP_DELETE,
    MAP_NEXT_KEY,
    PROG_LOAD,
    OBJ_PIN,
    OBJ_GET,
) = range(8)
PROG_TEST_RUN = 10
OBJ_INFO = 15
MAP_FREEZE = 22
MAP_LOOKUP_BATCH = 24
MAP_DELETE_BATCH = 27
LINK_CREATE, LINK_UPDATE = 28, 29
ENABLE_STATS = 32

HASH, ARRAY, ARRAY_OF_MAPS, RING = 1, 2, 12, 27
READ_ONLY_FOR_PROGRAMS = 1 << 7
CGROUP_SKB = 8
INGRESS, EGRESS = 0, 1

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class Buffer:
    """Memory the kernel reads or writes: its address and its bytes."""

    def __init__(self, data: bytes | int) -> None:
        size = data if isinstance(data, int) else len(data)
        self._memory = ctypes.create_string_buffer(data, max(size, 1))
        self.address = ctypes.addressof(self._memory)

    def __getitem__(self, part: slice) -> bytes:
        return memoryview(self._memory)[part].tobytes()


class MapInfo(NamedTuple):
    """What the kernel says about a map: its shape, id and flags."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


def call(command: int, attributes: bytes) -> int:
    """Do one bpf(2) call and return its result.

    Raises:
        OSError: with the kernel's errno; ENOSYS where the machine has no such call.
    """
    return _call(command, Buffer(attributes.ljust(64, b"\0")), max(len(attributes), 64))


def _call(command: int, attributes: Buffer, size: int) -> int:
    number = NUMBERS.get(platform.machine())
    if number is None or sys.byteorder != "little":
        raise OSError(errno.ENOSYS, f"no bpf(2) known for {platform.machine()}")
    result = int(_syscall(number, command, ctypes.c_void_p(attributes.address), size))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def map_create(
    kind: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    flags: int = 0,
    inner: int = 0,
    name: str = "",
) -> int:
    """Return the descriptor of a new map; `inner` is one whose shape an array of maps holds."""
    shape = (kind, key_size, value_size, max_entries, flags, inner, 0, name.encode()[:15])
    return call(MAP_CREATE, struct.pack("<7I16s", *shape))


def map_update(descriptor: int, key: bytes, value: bytes) -> None:
    """Set one row; on an array of maps, return only when no program uses the old map any more.

    That wait is the kernel's (since 5.0): updating a map of maps is a grace period.
    """
    keys, values = Buffer(key), Buffer(value)
    call(MAP_UPDATE, struct.pack("<I4xQQQ", descriptor, keys.address, values.address, 0))


def map_lookup(descriptor: int, key: bytes, value_size: int) -> bytes:
    """Return one row's value."""
    keys, values = Buffer(key), Buffer(value_size)
    call(MAP_LOOKUP, struct.pack("<I4xQQQ", descriptor, keys.address, values.address, 0))
    return values[:value_size]


def map_freeze(descriptor: int) -> None:
    """Forbid user space to write the map for ever; the verifier then trusts its content."""
    call(MAP_FREEZE, struct.pack("<I", descriptor))


def map_read(
    descriptor: int, key_size: int, value_size: int, *, chunk: int = 16_384
) -> tuple[bytes, bytes]:
    """Return all keys and all values, packed in the same order; the map must be quiet.

    The kernel fills a chunk from whole hash buckets; a bucket larger than the chunk is ENOSPC,
    and the chunk is doubled.
    """
    keys, values = Buffer(chunk * key_size), Buffer(chunk * value_size)
    tokens = Buffer(64), Buffer(64)
    all_keys, all_values, first = bytearray(), bytearray(), True
    while True:
        attributes = Buffer(
            struct.pack(
                "<QQQQIIQQ",
                0 if first else tokens[0].address,
                tokens[1].address,
                keys.address,
                values.address,
                chunk,
                descriptor,
                0,
                0,
            )
        )
        last = False
        try:
            _call(MAP_LOOKUP_BATCH, attributes, 56)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                chunk *= 2
                keys, values = Buffer(chunk * key_size), Buffer(chunk * value_size)
                continue
            if error.errno != errno.ENOENT:
                raise
            last = True
        (count,) = struct.unpack("<I", attributes[32:36])
        all_keys += keys[: count * key_size]
        all_values += values[: count * value_size]
        if last:
            return bytes(all_keys), bytes(all_values)
        tokens, first = tokens[::-1], False


def map_delete(descriptor: int, keys: bytes, key_size: int) -> None:
    """Delete the rows of these packed keys; a row that is not there is no error."""
    buffer, done, total = Buffer(keys), 0, len(keys) // key_size
    while done < total:
        at = buffer.address + done * key_size
        attributes = Buffer(struct.pack("<QQQQIIQQ", 0, 0, at, 0, total - done, descriptor, 0, 0))
        try:
            _call(MAP_DELETE_BATCH, attributes, 56)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            (count,) = struct.unpack("<I", attributes[32:36])
            done += count + 1
        else:
            return


def map_info(descriptor: int) -> MapInfo:
    """Return the shape and id of a map."""
    fields = struct.unpack("<6I", _info(descriptor)[:24])
    return MapInfo(*fields)


def link_cgroup(descriptor: int) -> int:
    """Return the id of the cgroup a link is attached to; 0 if the cgroup is gone."""
    (cgroup,) = struct.unpack("<Q", _info(descriptor)[16:24])
    return int(cgroup)


def program_statistics(descriptor: int) -> tuple[int, int, int]:
    """Return nanoseconds run and runs (while statistics are on), and verified instructions."""
    info = _info(descriptor)
    nanoseconds, runs = struct.unpack("<QQ", info[192:208])
    (verified,) = struct.unpack("<I", info[216:220])
    return nanoseconds, runs, verified


def _info(descriptor: int) -> bytes:
    info = Buffer(256)
    call(OBJ_INFO, struct.pack("<IIQ", descriptor, 256, info.address))
    return info[:256]


def program_load(
    kind: int, instructions: bytes, *, attach_type: int, name: str, license_name: str
) -> int:
    """Return the descriptor of a verified program.

    Raises:
        OSError: the kernel refused; where the verifier did, its last words are in the message.
    """
    code, terms = Buffer(instructions), Buffer(license_name.encode() + b"\0")

    def load(level: int, log: Buffer | None, size: int) -> int:
        attributes = struct.pack(
            "<IIQQIIQII16sII",
            kind,
            len(instructions) // 8,
            code.address,
            terms.address,
            level,
            size,
            log.address if log else 0,
            0,
            0,
            name.encode()[:15],
            0,
            attach_type,
        )
        return call(PROG_LOAD, attributes)

    try:
        return load(0, None, 0)
    except OSError as refusal:
        if refusal.errno not in (errno.EACCES, errno.EINVAL, errno.E2BIG):
            raise
        log = Buffer(1 << 20)
        try:
            return load(1, log, 1 << 20)
        except OSError as error:
            text = log[: 1 << 20].split(b"\0", 1)[0].decode(errors="replace")
            words = "; ".join(text.strip().splitlines()[-6:])
            raise OSError(error.errno, f"{error.strerror}: {words}") from None


def program_test(
    descriptor: int, packet: bytes, *, context: bytes = b"", repeat: int = 1
) -> tuple[int, int]:
    """Run a program on an Ethernet frame; return its result and its mean time in nanoseconds."""
    data, input_context = Buffer(packet), Buffer(context)
    attributes = Buffer(
        struct.pack(
            "<IIIIQQIIIIQQII",
            descriptor,
            0,
            len(packet),
            0,
            data.address,
            0,
            repeat,
            0,
            len(context),
            0,
            input_context.address if context else 0,
            0,
            0,
            0,
        )
        + bytes(8)
    )
    _call(PROG_TEST_RUN, attributes, 80)
    (result,) = struct.unpack("<I", attributes[4:8])
    (duration,) = struct.unpack("<I", attributes[36:40])
    return result, duration


def link_create(program: int, target: int, attach_type: int) -> int:
    """Return the descriptor of a link that lives while it is held or pinned."""
    return call(LINK_CREATE, struct.pack("<IIII", program, target, attach_type, 0))


def link_update(link: int, program: int) -> None:
    """Replace a link's program; each packet meets the old one or the new one."""
    call(LINK_UPDATE, struct.pack("<IIII", link, program, 0, 0))


def pin(descriptor: int, path: str) -> None:
    """Give an object a name on a bpffs, which keeps it alive."""
    name = Buffer(path.encode() + b"\0")
    call(OBJ_PIN, struct.pack("<QII", name.address, descriptor, 0))


def pinned(path: str) -> int:
    """Return a descriptor of the object of this name."""
    name = Buffer(path.encode() + b"\0")
    return call(OBJ_GET, struct.pack("<QII", name.address, 0, 0))


def enable_statistics() -> int:
    """Return a descriptor while which is open programs are timed (needs CAP_SYS_ADMIN)."""
    return call(ENABLE_STATS, struct.pack("<I", 0))
