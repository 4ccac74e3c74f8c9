"""Questions over the ledger, answered as tables, pages and metrics."""
