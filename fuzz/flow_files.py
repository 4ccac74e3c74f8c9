"""Coverage-guided fuzzing of the readers of whole files (libFuzzer through atheris).

    python -m fuzz.flow_files -max_total_time=600 corpus/

What must hold: no exception but an operator's, no hang, and every row of a file under one fate.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flowcost"]):
    from flowcost.errors import SourceError
    from flowcost.sources import cloudwatch, discover, record, text
    from flowcost.sources.kernel import Kernel
    from flowcost.sources.knowledge import Knowledge

# Reading a file takes some milliseconds, the parts below microseconds: most inputs go to those.
WHOLE_FILE = 64

_folder = Path(tempfile.mkdtemp(prefix="flowcost-fuzz-"))
_kernel = Kernel(Knowledge())


def one_input(data: bytes) -> None:
    """Give one input to one of the readers."""
    provider = atheris.FuzzedDataProvider(data)
    choice = provider.ConsumeIntInRange(0, WHOLE_FILE + 3)
    rest = provider.ConsumeBytes(provider.remaining_bytes())
    try:
        if choice == WHOLE_FILE:
            _read(rest, provider)
        elif choice % 4 == 0:
            lines = cloudwatch.messages(rest, "fuzz")
            assert isinstance(lines, bytes)
        elif choice % 4 == 1:
            layout = text.Layout(rest.partition(b"\n")[0], "fuzz", ())
            assert len(layout.names) == len(set(layout.names))
        elif choice % 4 == 2:
            record.parse_format(rest.decode("utf-8", "replace"))
        else:
            name = rest.decode("utf-8", "replace").replace("\0", "")
            discover.describe(name, _folder / "x", size=0, version="")
    except SourceError:
        return


def _read(data: bytes, provider: atheris.FuzzedDataProvider) -> None:  # noqa: ARG001
    suffix = (".log", ".parquet", ".json")[len(data) % 3]
    path = _folder / f"a{suffix}"
    path.write_bytes(data)
    file = discover.describe(path.as_posix(), path, size=len(data), version="")
    assert file is not None
    report = _kernel.partial(file).report
    assert report.rows == sum(tally.rows for tally in report.fates.values())


def main() -> None:
    """Run libFuzzer with its own arguments."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
