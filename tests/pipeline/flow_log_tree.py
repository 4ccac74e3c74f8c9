"""Generated flow logs with their inventory, and what a ledger says of them."""

from __future__ import annotations

import argparse
import hashlib

import duckdb
from benchmarks import gen_logs

from flowcost.ledger import Ledger


def generate(out, form, *, rows, hours=1, seed=7):
    """Write OUT/logs and OUT/inventory; return the sizes."""
    words = argparse.Namespace(
        rows=rows,
        pods=300,
        prefixes=100,
        conversations=0,
        hours=hours,
        slot_minutes=20,
        format=form,
        seed=seed,
    )
    return gen_logs.generate(out, words)


def charges(root):
    """Return every charge, whatever file it came from."""
    with duckdb.connect() as con:
        Ledger.open(root).attach(con)
        columns = "hour, usage_type, path, local_id, remote_id, bytes, quantity, list_cost"
        return con.execute(f"SELECT {columns} FROM charges ORDER BY ALL").fetchall()


def digest(root):
    """Return the content of every file of the ledger by its name."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("tenant=*/**/*"))
        if path.is_file()
    }
