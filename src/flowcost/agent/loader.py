"""From the object file to programs the kernel has verified; no libbpf, no compiler, no BTF.

The object's section `maps` holds the definitions (`struct map` in `bpf/flow.h`), `.rodata` the
settings, every other code section one program. Functions a program calls live in `.text`; only
those it reaches are loaded behind it, as the verifier refuses unreachable instructions.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from flowcost.agent import bpf_syscall as bpf
from flowcost.agent.elf import STT_FUNC, STT_OBJECT, Object, Relocation

LICENSE = "Apache-2.0"
OBJECT = "flow.bpf.o"

_R_BPF_64_64, _R_BPF_64_32 = 1, 10
_LD_IMM64, _CALL = 0x18, 0x85
_PSEUDO_CALL, _PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 1, 1, 2


class Shape(NamedTuple):
    """A map definition: type, sizes in bytes, rows and creation flags."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


def packaged_object() -> Object:
    """Return the object that this release ships."""
    source = files("flowcost.agent") / "bpf" / OBJECT
    return Object(source.read_bytes(), str(source))


def shapes(source: Object) -> dict[str, Shape]:
    """Return the map definitions of an object by name, in the order of their offsets."""
    index = source.index("maps")
    data = source.sections[index].data
    found = sorted(
        (symbol.value, symbol.name)
        for symbol in source.symbols
        if symbol.section == index and symbol.type == STT_OBJECT
    )
    return {name: Shape(*struct.unpack_from("<5I", data, offset)) for offset, name in found}


def create_maps(definitions: Mapping[str, Shape]) -> dict[str, int]:
    """Return descriptors of new maps; each array of maps `x` starts out with `x_a` in row 0."""
    made: dict[str, int] = {}
    try:
        for name, shape in sorted(
            definitions.items(), key=lambda item: item[1].type == bpf.ARRAY_OF_MAPS
        ):
            inner = made[f"{name}_a"] if shape.type == bpf.ARRAY_OF_MAPS else 0
            made[name] = bpf.map_create(
                shape.type,
                shape.key_size,
                shape.value_size,
                shape.max_entries,
                flags=shape.flags,
                inner=inner,
                name=f"fc_{name}",
            )
            if inner:
                bpf.map_update(made[name], bytes(4), struct.pack("<I", inner))
    except OSError:
        for descriptor in made.values():
            os.close(descriptor)
        raise
    return made


def settings_map(source: Object, settings: Mapping[str, bytes]) -> int:
    """Return a frozen map of `.rodata` with these symbols' bytes replaced."""
    index = source.index(".rodata")
    data = bytearray(source.sections[index].data)
    for symbol in source.symbols:
        if symbol.section == index and symbol.name in settings:
            value = settings[symbol.name]
            if len(value) != symbol.size:
                raise ValueError(f"{symbol.name} is {symbol.size} bytes, not {len(value)}")
            data[symbol.value : symbol.value + symbol.size] = value
    descriptor = bpf.map_create(
        bpf.ARRAY, 4, len(data), 1, flags=bpf.READ_ONLY_FOR_PROGRAMS, name="fc_settings"
    )
    bpf.map_update(descriptor, bytes(4), bytes(data))
    bpf.map_freeze(descriptor)
    return descriptor


def load(
    source: Object, section: str, maps: Mapping[str, int], rodata: int, *, kind: int, attach: int
) -> int:
    """Return the descriptor of the verified program of one code section.

    Raises:
        OSError: the kernel refused it; the verifier's last words are in the message.
    """
    code = _Linker(source, maps, rodata).link(source.index(section))
    name = next(
        symbol.name
        for symbol in source.symbols
        if symbol.type == STT_FUNC and symbol.section == source.index(section)
    )
    return bpf.program_load(kind, code, attach_type=attach, name=f"fc_{name}", license_name=LICENSE)


class _Linker:
    """Puts one program together: its section, then every function of `.text` it reaches."""

    def __init__(self, source: Object, maps: Mapping[str, int], rodata: int) -> None:
        self._source, self._maps, self._rodata = source, maps, rodata
        self._text = source.index(".text")
        self._functions = {
            symbol.value: symbol.size
            for symbol in source.symbols
            if symbol.type == STT_FUNC and symbol.section == self._text
        }

    def link(self, section: int) -> bytes:
        code = bytearray(self._source.sections[section].data)
        relocations = {r.offset: r for r in self._source.relocations(section)}
        text_relocations = {r.offset: r for r in self._source.relocations(self._text)}
        placed: dict[int, int] = {}  # offset in .text -> offset in the program
        calls: list[tuple[int, int]] = []  # place of the call, offset in .text
        waiting: list[int] = []

        def take(base: int, size: int, start: int, marks: Mapping[int, Relocation]) -> None:
            for offset in range(0, size, 8):
                mark = marks.get(start + offset)
                opcode, registers = code[base + offset], code[base + offset + 1]
                if opcode == _CALL and registers >> 4 == _PSEUDO_CALL:
                    (immediate,) = struct.unpack_from("<i", code, base + offset + 4)
                    if mark is None:
                        target = start + offset + 8 + immediate * 8
                    elif mark.symbol.type == STT_FUNC:
                        target = mark.symbol.value
                    else:
                        target = (immediate + 1) * 8
                    calls.append((base + offset, target))
                    if target not in placed and target not in waiting:
                        waiting.append(target)
                elif mark is not None and mark.type == _R_BPF_64_64:
                    self._point(code, base + offset, mark)

        take(0, len(code), 0, relocations)
        while waiting:
            target = waiting.pop(0)
            size = self._functions[target]
            placed[target] = base = len(code)
            code += self._source.sections[self._text].data[target : target + size]
            take(base, size, target, text_relocations)
        for place, target in calls:
            struct.pack_into("<i", code, place + 4, (placed[target] - place - 8) // 8)
        return bytes(code)

    def _point(self, code: bytearray, place: int, mark: Relocation) -> None:
        """Turn a 64-bit load of a symbol's address into a load of a map, or of a settings byte."""
        section = self._source.sections[mark.symbol.section].name
        destination = code[place + 1] & 15
        if section == "maps":
            source, first, second = _PSEUDO_MAP_FD, self._maps[mark.symbol.name], 0
        else:
            (addend,) = struct.unpack_from("<I", code, place + 4)
            source, first, second = _PSEUDO_MAP_VALUE, self._rodata, mark.symbol.value + addend
        code[place + 1] = destination | source << 4
        struct.pack_into("<I", code, place + 4, first)
        struct.pack_into("<I", code, place + 12, second)
