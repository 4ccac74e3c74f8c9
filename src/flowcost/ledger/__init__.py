"""What is owed, balanced, for ever: immutable hourly partitions of charges."""

from __future__ import annotations

from flowcost.ledger.partition import Input, Manifest, Partition, Totals
from flowcost.ledger.store import Ledger

__all__ = ["Input", "Ledger", "Manifest", "Partition", "Totals"]
