"""Foreign records become flows.

A file of flow records becomes a partial aggregate with the columns of `schema.FLOWS` and a
`FileReport` that accounts for every row of the file.
"""
