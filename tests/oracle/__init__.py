"""A second opinion on every figure: other code, other rate sheet, other arithmetic.

Nothing here imports the rooms that classify, price or resolve. A scenario folder is read by its
own parser (`world`), bytes are walked hop by hop past every metered interface (`bill`), priced
from a sheet typed from AWS's public pages (`sheet.csv`, `sheet`), and booked by who could see
them (`book`), all in fractions. `python -m tests.oracle` writes the `expected.toml` files.
"""
