"""Compile the kernel side: `make bpf` rewrites `bpf/flow.bpf.o`.

Nothing but clang is needed, no header of the system. The object is for the BPF machine, little-
endian, and holds no path, time or compiler name: one source and one clang make the same bytes on
every machine. The committed object is made by clang `COMPILER` (Debian 12's).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

COMPILER = 14
HERE = Path(__file__).parent / "bpf"
FLAGS = (
    "-target",
    "bpfel",
    "-mcpu=v3",  # needs Linux 5.1
    "-O2",
    "-nostdinc",
    "-ffreestanding",
    "-fno-ident",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-function",
)


def find_clang() -> tuple[str, int] | None:
    """Return the path and major version of the clang to use; None if there is none fit to.

    The one the committed object was made with is preferred; an older one is not fit.
    """
    for name in (f"clang-{COMPILER}", "clang"):
        path = shutil.which(name)
        if path is None:
            continue
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - found on PATH
        found = re.search(r"clang version (\d+)", done.stdout)
        if found and int(found[1]) >= COMPILER:
            return path, int(found[1])
    return None


def compile_object(clang: str, output: Path) -> None:
    """Compile `flow.bpf.c` to `output`.

    Raises:
        subprocess.CalledProcessError: clang refused; its words are in `stderr`.
    """
    words = [clang, *FLAGS, "-c", "flow.bpf.c", "-o", str(output.absolute())]
    subprocess.run(words, cwd=HERE, check=True, capture_output=True, text=True)  # noqa: S603 - our own words


if __name__ == "__main__":
    usable = find_clang()
    if usable is None:
        sys.exit(f"compile: no clang of version {COMPILER} or newer on PATH")
    compile_object(usable[0], HERE / "flow.bpf.o")
