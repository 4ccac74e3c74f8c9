"""The part of ELF a BPF object uses: sections, symbols, relocations (System V gABI, 64-bit LE)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from flowcost.errors import NotSupportedError

EM_BPF = 247
SHT_SYMTAB, SHT_REL = 2, 9
STT_OBJECT, STT_FUNC, STT_SECTION = 1, 2, 3


class Section(NamedTuple):
    """One section: its name, type, bytes and the two fields other sections are named by."""

    name: str
    type: int
    data: bytes
    link: int
    info: int


class Symbol(NamedTuple):
    """One symbol: `section` is an index, `value` an offset into it."""

    name: str
    type: int
    section: int
    value: int
    size: int


class Relocation(NamedTuple):
    """A place in a section that refers to a symbol."""

    offset: int
    type: int
    symbol: Symbol


class Object:
    """A parsed object file.

    Raises:
        NotSupportedError: not a little-endian 64-bit BPF object, or cut short.
    """

    def __init__(self, data: bytes, where: str) -> None:
        try:
            self._parse(data)
        except (struct.error, ValueError, IndexError) as error:
            raise NotSupportedError(
                f"{where}: not a BPF object: {error}", hint="Install the package again."
            ) from None

    def _parse(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("no 64-bit little-endian ELF header")
        (machine,) = struct.unpack_from("<H", data, 18)
        if machine != EM_BPF:
            raise ValueError(f"machine {machine}")
        (table,) = struct.unpack_from("<Q", data, 40)
        size, count, names_index = struct.unpack_from("<3H", data, 58)
        headers = [
            struct.unpack_from("<IIQQQQIIQQ", data, table + size * index) for index in range(count)
        ]
        raw = [data[h[4] : h[4] + h[5]] for h in headers]
        names = raw[names_index]
        self.sections = [
            Section(_text(names, h[0]), h[1], body, h[6], h[7])
            for h, body in zip(headers, raw, strict=True)
        ]
        self.symbols: list[Symbol] = []
        for section in self.sections:
            if section.type == SHT_SYMTAB:
                strings = raw[section.link]
                for name, info, _, index, value, length in struct.iter_unpack(
                    "<IBBHQQ", section.data
                ):
                    self.symbols.append(
                        Symbol(_text(strings, name), info & 15, index, value, length)
                    )

    def index(self, name: str) -> int:
        """Return the index of a section by name; -1 if there is none."""
        return next((i for i, s in enumerate(self.sections) if s.name == name), -1)

    def relocations(self, section: int) -> list[Relocation]:
        """Return what refers to symbols from within one section."""
        return [
            Relocation(offset, info & 0xFFFFFFFF, self.symbols[info >> 32])
            for table in self.sections
            if table.type == SHT_REL and table.info == section
            for offset, info in struct.iter_unpack("<QQ", table.data)
        ]


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()
