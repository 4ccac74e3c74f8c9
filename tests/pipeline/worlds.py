"""Flow tables for tests: rows of a few named values, the rest at the flow table's defaults."""

from datetime import timedelta

import pyarrow as pa

from flowcost.address import pack
from flowcost.schema import FLOWS
from flowcost.sources.flow_csv import ARROW_TYPES, DEFAULTS


def flow_table(rows: list[dict]) -> pa.Table:
    """Return a flow table of `rows`; addresses are text, a window lasts a minute by default."""
    columns = {}
    for column in FLOWS:
        default = DEFAULTS.get(column.name, "" if column.type == "text" else 0)
        values = [row.get(column.name, default) for row in rows]
        if column.name == "window_end":
            values = [
                row.get("window_end", row["window_start"] + timedelta(minutes=1)) for row in rows
            ]
        if column.type == "address":
            values = [pack(value) if isinstance(value, str) else value for value in values]
        columns[column.name] = pa.array(values, ARROW_TYPES[column.type])
    return pa.table(columns)
