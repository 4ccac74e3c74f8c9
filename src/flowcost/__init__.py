"""Flowcost: which workload pays for which bytes, over which billing path, at which dated rate.

Data flows one way: sources -> flows -> resolve -> classify -> price -> ledger -> views.
"""

from __future__ import annotations

__version__ = "2026.11.0"
