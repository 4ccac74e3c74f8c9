"""The stages and their order: the only room that crosses the others.

flows -> `observe` (who was at each end, which way out) -> `book` (which observation counts) ->
`decide` (distinct facts to verdicts, meters and rates) -> `post` (charges into the ledger).
Rows move in the engine; `decide` is plain Python over a few hundred distinct combinations.
"""
