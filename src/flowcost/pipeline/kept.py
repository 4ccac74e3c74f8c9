"""What inventories resolve to, kept beside the ledger: an unchanged one is read once.

    <ledger>/.run/identities/<digest>/<table>.arrow, rest.msgpack

The digest is of the inventory's files, by name and content, and of the code that reads them: what
is kept is true or has another name. Tables are mapped into memory, so a run pays for the
identities that it meets. What is missing or damaged is made anew, and what has not been used for
longest goes.
"""

from __future__ import annotations

import gc
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct

import flowcost
from flowcost.model import Finding
from flowcost.pipeline.columns import Columns
from flowcost.pipeline.memory import give_back
from flowcost.pipeline.numbering import Place
from flowcost.pipeline.resolved import Resolved, resolved
from flowcost.resolve import inventory, timeline
from flowcost.sources.knowledge import Knowledge

KEPT = 4  # inventories; a few tenants share a ledger
_REST = "rest.msgpack"
_IDENTITIES = "identities"
_DIGEST = hashlib.sha256
# The code that an inventory passes through, beneath the package.
_CODE = ("*.*", "resolve/**/*.*", "pipeline/*.py", "sources/knowledge.py")


class _Rest(Struct, frozen=True, kw_only=True):
    """Everything that is no table, and the SHA-256 of every file of a table by its name."""

    tables: dict[str, bytes]
    words: dict[str, list[str]]
    places: list[Place]
    knowledge: Knowledge
    interfaces: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def folder_of(ledger: Path) -> Path:
    """Return the folder of what is kept beside a ledger."""
    return ledger / ".run" / "identities"


def resolve(path: Path, folder: Path) -> Resolved:
    """Return what the inventory at `path` resolves to, as kept in `folder` or made and kept there.

    Raises:
        InventoryError: there is nothing to read, or a file is not what its name says.
    """
    name = _name(path)
    if not name:
        return _made(path)
    kept = folder / name
    found = _load(kept)
    if found is None:
        made = _made(path)
        if _name(path) == name:  # else it changed while it was read
            with suppress(OSError):
                _save(made, kept)
        found = _load(kept) or made
        del made
        give_back()
    with suppress(OSError):
        os.utime(kept)
    _drop_oldest(folder)
    return found


def _made(path: Path) -> Resolved:
    with _uncollected():
        return resolved(timeline.build(inventory.load(path).layers))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hold the collector back: identities hold no cycles, and it walks all of them many times."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def _name(path: Path) -> str:
    """Return what an inventory is kept under, "" if it cannot be read through."""
    digest = _DIGEST(_code())
    try:
        for file in (path, *inventory.files(path)):
            digest.update(f"\0{file}\0".encode(errors="surrogateescape"))
            if file.is_file():
                digest.update(_digest_of(file))
    except OSError:
        return ""
    return digest.hexdigest()[:32]


@cache
def _code() -> bytes:
    root = Path(flowcost.__file__).parent
    digest = _DIGEST(flowcost.__version__.encode())
    for file in sorted(file for pattern in _CODE for file in root.glob(pattern) if file.is_file()):
        digest.update(file.name.encode() + _digest_of(file))
    return digest.digest()


def _digest_of(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, _DIGEST).digest()


def _save(made: Resolved, kept: Path) -> None:
    """Write everything, and give it its name only then."""
    draft = kept.parent / f"partly-{secrets.token_hex(8)}"
    draft.mkdir(parents=True)
    tables = {_IDENTITIES: made.columns.identities, **made.columns.tables}
    for name, table in tables.items():
        with pa.ipc.new_file(_file(draft, name), table.schema) as writer:
            writer.write_table(table)
    rest = msgspec.msgpack.encode(
        _Rest(
            tables={name: _digest_of(_file(draft, name)) for name in tables},
            words=made.columns.words,
            places=made.columns.places,
            knowledge=made.knowledge,
            interfaces=made.interfaces,
            findings=made.findings,
        )
    )
    draft.joinpath(_REST).write_bytes(_DIGEST(rest).digest() + rest)
    shutil.rmtree(kept, ignore_errors=True)
    draft.rename(kept)


def _load(kept: Path) -> Resolved | None:
    """Return what is kept, None if it is not there whole."""
    try:
        raw = kept.joinpath(_REST).read_bytes()
        size = _DIGEST().digest_size
        _check(_DIGEST(raw[size:]).digest(), raw[:size])
        rest = msgspec.msgpack.decode(raw[size:], type=_Rest)
        tables = {}
        for name, digest in rest.tables.items():
            _check(_digest_of(_file(kept, name)), digest)
            tables[name] = pa.ipc.open_file(pa.memory_map(str(_file(kept, name)))).read_all()
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return Resolved(
        columns=Columns(
            identities=tables.pop(_IDENTITIES),
            tables=tables,
            words=rest.words,
            places=rest.places,
        ),
        knowledge=rest.knowledge,
        interfaces=rest.interfaces,
        findings=rest.findings,
    )


def _check(found: bytes, expected: bytes) -> None:
    if found != expected:
        raise ValueError("damaged")


def _file(folder: Path, table: str) -> Path:
    return folder / f"{table}.arrow"


def _drop_oldest(folder: Path) -> None:
    """Remove all but what was used last; what another process has mapped stays its own."""
    for path in _by_use(folder.glob("*"))[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def _by_use(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        with suppress(OSError):
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]
