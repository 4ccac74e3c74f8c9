"""What the footers of Parquet files say without reading a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_INSTANT = "[-0-9]{10} [:0-9]{8}"
_LONGEST = 32  # characters; a writer may cut longer bounds short


def constants(con: DuckDBPyConnection, files: str) -> dict[str, str]:
    """Return column -> SQL literal of texts that are the same in every row of `files`.

    So are instants, as texts that the engine reads. Such a column (payer, currency, month) need not
    be read, hashed or compared. `files` is an SQL list of paths.
    """
    rows = con.execute(
        f"""
        SELECT path_in_schema, min(stats_min_value)
        FROM parquet_metadata({files})
        WHERE num_values > 0
            AND (type = 'BYTE_ARRAY' OR regexp_full_match(stats_min_value, '{_INSTANT}'))
        GROUP BY path_in_schema
        HAVING min(stats_min_value) = max(stats_max_value) AND sum(stats_null_count) = 0
           AND count(*) = count(stats_min_value) AND count(*) = count(stats_max_value)
           AND count(*) = count(stats_null_count) AND max(length(stats_max_value)) < {_LONGEST}
        """
    ).fetchall()
    return {name: "'" + text.replace("'", "''") + "'" for name, text in rows if "," not in name}
