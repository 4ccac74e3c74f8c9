"""The server: what agents post becomes the ledger, and people read it.

A composition root: `inbox` (durable before acknowledged) -> `live` (hours from the inbox, by the
same stages as a batch run) -> the ledger; `application` puts the HTTP views over them.
"""
