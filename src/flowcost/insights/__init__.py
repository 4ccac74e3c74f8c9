"""Questions over the ledger: budgets, signals, savings."""
