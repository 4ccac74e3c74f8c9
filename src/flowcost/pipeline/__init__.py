"""The stages and their order: the only room that crosses the others.

`shelf` (log files to partial flows) -> `gather` (many flows, few conversations) -> `observe` (who
was at each end, which way out) -> `book` (which observation counts) -> `decide` (distinct facts to
verdicts, meters and rates) -> `post` (charges into the ledger) -> `tiering` (a payer's month).
Rows move in the engine; `decide` is plain Python over a few hundred distinct combinations.
"""
