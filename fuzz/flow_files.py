"""Coverage-guided fuzzing of the readers (libFuzzer through atheris).

    python -m fuzz.flow_files -runs=1000000 -max_len=4096 corpus/

What must hold: no exception but an operator's, no hang, every row of a file under one fate, and of
files with a header: the flows that the reference finds. The rules for rows are the engine's
queries, which no tracer sees into, so the reference's branches guide the search there.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flowcost", "tests.sources"]):
    from tests.sources.compare import Batch, kernel
    from tests.sources.logs import rows, write_parquet
    from tests.sources.logs import text as lines_of
    from tests.sources.mutate import KNOWN, Bytes
    from tests.sources.reference import expected

    from flowcost.errors import SourceError
    from flowcost.sources import cloudwatch, discover, flow_csv, numbered, parquet, record, text

TOGETHER = 1000  # inputs that are compared at once
LINES = 4
_SUFFIXES = (".log", ".log.gz", ".parquet", ".json")

_folder = Path(tempfile.mkdtemp(prefix="flowcost-fuzz-"))
_kernel = kernel()
_given: Counter[str] = Counter()
_batch: Batch | None = None


def one_input(data: bytes) -> None:
    """Give one input to one of the readers; its first byte says which."""
    choice, rest = (data[0] if data else 0), data[1:]
    kind = "part" if choice < 150 else "file" if choice < 200 else "compared"
    _given[kind] += 1
    if _given.total() % 50_000 == 0:
        print(f"{_given.total()} inputs: {dict(_given)}", file=sys.stderr, flush=True)
    if kind == "compared":
        _compare(rest, raw=choice >= 240)
        return
    try:
        if kind == "part":
            _PARTS[choice % len(_PARTS)](rest)
        else:
            _read(rest, _SUFFIXES[choice % len(_SUFFIXES)])
    except SourceError:
        return


def _messages(data: bytes) -> None:
    assert cloudwatch.messages(data, "fuzz").count(b"\n") <= data.count(b"{")


def _layout(data: bytes) -> None:
    layout = text.Layout(data.partition(b"\n")[0], "fuzz", ())
    assert len(layout.names) == len(set(layout.names))


def _format(data: bytes) -> None:
    record.parse_format(data.decode("utf-8", "replace"))


def _name(data: bytes) -> None:
    name = data.decode("utf-8", "replace").replace("\0", "")
    discover.describe(name, _folder / "x", size=0, version="")


def _csv(data: bytes) -> None:
    path = _folder / "a.csv"
    path.write_bytes(data)
    flow_csv.read(path)


_PARTS = (_messages, _layout, _format, _name, _messages, _layout, _format, _csv)


def _read(data: bytes, suffix: str) -> None:
    path = _folder / f"a{suffix}"
    path.write_bytes(data)
    file = discover.describe(path.as_posix(), path, size=len(data), version="")
    assert file is not None
    found = parquet.rows(file, 1 << 20) if file.format == "parquet" else text.rows(file, ())
    for each in found:
        if len(each.table):
            assert len(numbered.piece([(0, each)]).table) == len(each.table)


def _compare(data: bytes, *, raw: bool) -> None:
    """Add lines to the files of a batch, and check it when there are many."""
    global _batch  # noqa: PLW0603 - inputs wait for others
    if _batch is None:
        _batch = Batch(random.Random(_given.total()))
    if raw:
        added = _batch.feed_text(data.decode("utf-8", "replace").split("\n"))
    else:
        added = _batch.feed(Bytes(data), LINES)
    expected(added, _batch.names, KNOWN)  # its branches guide
    if _batch.inputs == TOGETHER:
        batch, _batch = _batch, None
        with tempfile.TemporaryDirectory(dir=_folder) as folder:
            batch.check(_kernel, Path(folder))


def _seed(corpus: Path) -> None:
    """Write a well-formed input for every form of delivery."""
    good = lines_of(rows({"flow-direction": "egress"}, {"log-status": "NODATA"}))
    events = json.dumps({"logEvents": [{"message": line} for line in good.splitlines()[1:]]})
    parquet_file = write_parquet(_folder / "seed.parquet", rows({}))
    header = good.partition("\n")[0]
    samples = {
        "text": bytes([152]) + good.encode(),
        "parquet": bytes([154]) + parquet_file.read_bytes(),
        "json": bytes([155]) + events.encode(),
        "messages": bytes([0]) + events.encode(),
        "layout": bytes([1]) + header.encode(),
        "format": bytes([2]) + " ".join("${" + name + "}" for name in header.split()).encode(),
        "name": bytes([3]) + b"123456789010_vpcflowlogs_us-east-1_fl-0a_20261005T1200Z_ab.log.gz",
        "raw": bytes([250]) + good.partition("\n")[2].encode(),
        **{f"drawn-{n}": bytes([200]) + random.Random(n).randbytes(300) for n in range(8)},
    }
    for name, data in samples.items():
        (corpus / f"seed-{name}").write_bytes(data)


def main() -> None:
    """Run libFuzzer with its own arguments; the last one is the corpus."""
    _seed(Path(sys.argv[-1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
