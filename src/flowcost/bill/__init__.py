"""What the provider charged, and the difference."""

from __future__ import annotations

from flowcost.bill.read import Bill, read

__all__ = ["Bill", "read"]
