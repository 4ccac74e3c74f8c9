"""The generated network as AWS CLI and kubectl output."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gen_topology import (
    NETWORK_ACCOUNT, PODS_PER_NODE, REGION, TGW_ID, ZONE_NAMES, ZONES, Topology, Vpc, hexid, pod_uid,
)  # fmt: skip


def instance_id(node: int) -> str:
    """Return the instance id of a node."""
    return hexid("i", 8, node)


def write(out: Path, topology: Topology) -> None:
    """Write nothing yet."""
