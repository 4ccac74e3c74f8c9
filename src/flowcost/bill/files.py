"""Which files are the bill: manifests, months, assemblies, archives.

A manifest decides: of a report that was delivered several times, only the files of the assembly
it names are read, so a restated month replaces the earlier one whole. Without a manifest every
file of a folder is read.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from flowcost.errors import BillError
from flowcost.model import Finding

MANIFEST_ENDING = "manifest.json"
_LEVELS = 4  # how far above a manifest its data may lie (metadata/PERIOD/ beside data/PERIOD/)
FORMS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".gz": "csv",
    ".zip": "zip",
    ".json": "json",
}


class BillFile(Struct, frozen=True, order=True):
    """A file of a bill; `form` is csv, parquet, json or zip."""

    path: Path
    form: str


class _Period(Struct, frozen=True):
    start: str = ""


class _Manifest(Struct, frozen=True, rename="camel"):
    """What legacy CUR manifests and Data Exports manifests have in common for a reader."""

    report_keys: tuple[str, ...] = ()
    data_files: tuple[str, ...] = ()
    report_name: str = ""
    billing_period: _Period = _Period()


def discover(paths: Sequence[Path]) -> list[BillFile]:
    """Return the files that make up the bill at `paths`, sorted.

    Raises:
        BillError: a path does not exist, a folder holds no bill, a manifest cannot be read, names
            missing files, or two manifests of one month contradict each other.
    """
    found: set[BillFile] = set()
    for path in paths:
        if not path.exists():
            raise BillError(f"{path}: does not exist", hint="name a bill file or its folder")
        if path.is_dir():
            found.update(_of_folder(path))
        elif path.name.lower().endswith(MANIFEST_ENDING):
            found.update(_of_manifests(path.parent, [path]))
        else:
            found.add(_file(path))
    return sorted(found)


def unpack(files: Iterable[BillFile], folder: Path) -> list[BillFile]:
    """Return `files` with every archive replaced by its members, written to `folder`.

    Raises:
        BillError: an archive is damaged.
    """
    unpacked = []
    for file in files:
        if file.form != "zip":
            unpacked.append(file)
            continue
        try:
            with zipfile.ZipFile(file.path) as archive:
                for number, member in enumerate(archive.infolist()):
                    if _form(member.filename) is None:
                        continue
                    name = f"{len(unpacked)}-{number}-{Path(member.filename).name}"
                    with archive.open(member) as packed, (folder / name).open("wb") as out:
                        shutil.copyfileobj(packed, out, 1 << 20)
                    unpacked.append(_file(folder / name))
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise BillError(
                f"{file.path}: damaged archive ({error})", hint="download the file again"
            ) from None
    return unpacked


def without_copies(files: Sequence[BillFile]) -> tuple[list[BillFile], list[Finding]]:
    """Return `files` without those of the same content as an earlier one, and what was left out."""
    seen: dict[tuple[int, str], BillFile] = {}
    kept, findings = [], []
    sizes = Counter(file.path.stat().st_size for file in files)
    for file in files:
        size = file.path.stat().st_size
        if sizes[size] > 1:  # only files of one size can be copies; others are not hashed
            with file.path.open("rb") as handle:
                key = size, hashlib.file_digest(handle, "sha256").hexdigest()
            if key in seen:
                findings.append(
                    Finding(
                        code="bill-copied-file",
                        severity="warning",
                        subject=str(file.path),
                        hint=f"same content as {seen[key].path}; read once",
                    )
                )
                continue
            seen[key] = file
        kept.append(file)
    return kept, findings


def _form(name: str) -> str | None:
    lower = name.lower()
    return next((form for end, form in FORMS.items() if lower.endswith(end)), None)


def _file(path: Path) -> BillFile:
    form = _form(path.name)
    if form is None:
        raise BillError(
            f"{path}: not a bill file", hint=f"known endings are {', '.join(sorted(FORMS))}"
        )
    return BillFile(path, form)


def _of_folder(folder: Path) -> list[BillFile]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifests = [path for path in files if path.name.lower().endswith(MANIFEST_ENDING)]
    if manifests:
        return _of_manifests(folder, manifests)
    bills = [_file(path) for path in files if _form(path.name)]
    if not bills:
        raise BillError(
            f"{folder}: no bill files", hint=f"known endings are {', '.join(sorted(FORMS))}"
        )
    return bills


def _of_manifests(folder: Path, manifests: Sequence[Path]) -> list[BillFile]:
    """Take the manifest nearest to the root for each report and month: it names the last one."""
    chosen: dict[tuple[str, str], tuple[Path, _Manifest]] = {}
    for path in sorted(manifests, key=lambda path: (len(path.parts), path)):
        manifest = _read(path)
        name = manifest.report_name or path.name
        month = manifest.billing_period.start or _partition(path)
        key = (name, month)
        if key not in chosen:
            chosen[key] = (path, manifest)
            continue
        first, other = chosen[key]
        if len(first.parts) == len(path.parts) and _keys(other) != _keys(manifest):
            raise BillError(
                f"{first} and {path} are two deliveries of one month",
                hint="name the folder or the manifest of the last one",
            )
    return [
        _file(_located(folder, path, key))
        for path, manifest in chosen.values()
        for key in _keys(manifest)
    ]


def _keys(manifest: _Manifest) -> tuple[str, ...]:
    return manifest.report_keys or manifest.data_files


def _partition(path: Path) -> str:
    """Return the month of a Data Exports folder (`BILLING_PERIOD=2026-11`), if there is one."""
    return next((part for part in path.parts if part.upper().startswith("BILLING_PERIOD=")), "")


def _read(path: Path) -> _Manifest:
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except msgspec.DecodeError as error:
        raise BillError(
            f"{path}: not a report manifest ({error})", hint="download the file again"
        ) from None
    if not _keys(manifest):
        raise BillError(f"{path}: names no files", hint="the report is empty, or not yet delivered")
    return manifest


def _located(folder: Path, manifest: Path, key: str) -> Path:
    """Return the local copy of an object key, wherever below the folder the bucket was copied."""
    parts = key.removeprefix("s3://").split("/")
    for root in (folder, *list(manifest.parents)[:_LEVELS]):
        for start in range(len(parts)):
            path = root.joinpath(*parts[start:])
            if path.is_file():
                return path
    raise BillError(
        f"{manifest}: names {key}, which is not below {folder}",
        hint="copy the whole report folder, data files and manifest",
    )
