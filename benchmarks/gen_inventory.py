"""The generated network as AWS CLI and kubectl output."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gen_topology import (
    Topology,
    hexid,
)  # fmt: skip


def instance_id(node: int) -> str:
    """Return the instance id of a node."""
    return hexid("i", 8, node)


def write(out: Path, topology: Topology) -> None:
    """Write nothing yet."""
