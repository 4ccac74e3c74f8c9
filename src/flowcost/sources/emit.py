"""Booked groups become a table with the columns of `schema.FLOWS`, and each row's file.

Texts and addresses stay dictionaries that all rows share, so that a column costs its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowcost.schema import FLOWS
from flowcost.sources.code import bits
from flowcost.sources.oriented import FATES, SOURCE, Oriented
from flowcost.sources.record import Record
from flowcost.sources.report import Fate
from flowcost.sources.tgw_flow_logs import TGW

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

PART = "part"
_HOUR = 3600
_BOOKED = FATES.index(Fate.BOOKED)
_PORT = bits("port")
_LOCAL_PORT = f"(({_PORT} & 1 = 1) = (side = {SOURCE}))"
# Port 0 is nobody's, so it says nothing of who opened the connection.
_INITIATORS = ["unknown", "remote", "local"]

_QUERY = f"""
SELECT local, remote, context * 4 + CASE WHEN at_nat THEN 2 ELSE 0 END
           + CASE WHEN side = {SOURCE} THEN 0 ELSE 1 END AS place,
       make_timestamp(moment * 1000000) AS window_start,
       make_timestamp((moment // {_HOUR} + 1) * {_HOUR} * 1000000) AS window_end,
       (CASE WHEN {_LOCAL_PORT} THEN {_PORT} >> 1 ELSE 0 END)::INTEGER AS local_port,
       (CASE WHEN {_LOCAL_PORT} THEN 0 ELSE {_PORT} >> 1 END)::INTEGER AS remote_port,
       {bits("protocol")}::INTEGER AS transport,
       (CASE WHEN {_PORT} < 2 THEN 0 WHEN {_LOCAL_PORT} THEN 1 ELSE 2 END)::INTEGER AS initiator,
       bytes, packets, {bits("path")}::INTEGER AS traffic_path,
       {bits("part")}::INTEGER AS part
FROM oriented WHERE fate = {_BOOKED} AND (bytes > 0 OR packets > 0)
"""


def flows(
    con: DuckDBPyConnection,
    oriented: Oriented,
    record: Record,
    *,
    tenant: str,
    sources: Sequence[str],
) -> pa.Table:
    """Return the booked rows of `oriented`, which is registered, as flows, one UTC hour each.

    A column `part` says which of the files that were read together a flow is from; `sources` are
    these files' words for `source`.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    rows = con.sql(_QUERY).to_arrow_table().combine_chunks()
    size = len(rows)
    place = rows["place"].cast(pa.int32()).combine_chunks() if size else pa.array([], pa.int32())
    same = pa.array([0], pa.int32()).take(pa.array([0] * size, pa.int32()))
    words = _words(oriented, record)
    # What is no address is broken, so no booked row refers to its place.
    addresses = [address or b"" for address in oriented.packed]

    def coded(indices: Any, values: list[str]) -> pa.Array:  # noqa: ANN401 - Arrow array
        return _coded(indices, pa.array(values, pa.string()))

    def end(name: str) -> pa.Array:
        indices = rows[name].cast(pa.int32()).combine_chunks() if size else place
        return _coded(indices, pa.array(addresses, pa.binary()))

    given = {name: coded(place, values) for name, values in words.items()}
    given["local_address"], given["remote_address"] = end("local"), end("remote")
    initiator = rows["initiator"].combine_chunks() if size else place
    given["initiator"] = coded(initiator, _INITIATORS)
    parts = rows["part"].combine_chunks() if size else place
    given["tenant"], given["source"] = coded(same, [tenant]), coded(parts, list(sources))
    given["sampled"] = pa.array([1], pa.int32()).take(same)
    given["dialed_address"] = pa.nulls(size, pa.binary())
    zero = {
        "small": pa.array([0], pa.int32()).take(same),
        "int": pa.array([0], pa.int64()).take(same),
    }
    columns = []
    for column in FLOWS:
        if column.name in given:
            columns.append(given[column.name])
        elif column.name in rows.column_names:
            columns.append(rows[column.name])
        else:
            columns.append(coded(same, [""]) if column.type == "text" else zero[column.type])
    return pa.table([*columns, parts], names=[*(column.name for column in FLOWS), PART])


def _coded(indices: Any, values: pa.Array) -> pa.Array:  # noqa: ANN401 - Arrow arrays
    """Return a column by position in `values`.

    The dictionary holds every value once: Arrow's Parquet writer sizes a dictionary page by its
    entries, writes each distinct one, and leaves the rest of the page to chance.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    distinct = values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(distinct.indices.take(indices), distinct.dictionary)


def no_flows() -> pa.Table:
    """Return a table of flows without rows."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    kinds = {
        "text": pa.dictionary(pa.int32(), pa.string()),
        "int": pa.int64(),
        "small": pa.int32(),
        "instant": pa.timestamp("us"),
        "address": pa.binary(),
    }
    empty = {c.name: pa.array([], kinds[c.type]) for c in FLOWS}
    return pa.table({**empty, PART: pa.array([], pa.int32())})


def _words(oriented: Oriented, record: Record) -> dict[str, list[str]]:
    """Return the text columns that follow from the context and how its row is seen.

    The words of context `n` are at `4 n + 2 nat + receive`: seen as an interface or as a NAT
    gateway, with the local end as source or as destination.
    """
    contexts = oriented.grouped.contexts
    tgw = record is TGW
    observers = [context.observer or context.device for context in contexts]
    services = [(c.destination_service, c.source_service) * 2 for c in contexts]
    if tgw:
        via = [(device,) * 4 for device in oriented.via]
    else:
        via = [
            ("", "", gateway or observer, gateway or observer)
            for gateway, observer in zip(oriented.via, observers, strict=True)
        ]
    # The same word in all four places, and four words that are the same in every context.
    alike = {
        "observer": observers,
        "account": [context.account for context in contexts],
        "region": [context.region for context in contexts],
        "az_id": [context.az for context in contexts],
        "vpc_id": [context.vpc for context in contexts],
        "subnet_id": [context.subnet for context in contexts],
        "next_hop_type": [context.next_hop_type for context in contexts],
        "next_hop_az_id": [context.next_hop_az for context in contexts],
    }
    sensor = "tgw_attachment" if tgw else "interface"
    seen = {
        "observer_type": [sensor, sensor, "gateway", "gateway"],
        "direction": ["transmit", "receive"] * 2,
    }
    words = {name: [word for word in column for _ in range(4)] for name, column in alike.items()}
    words |= {name: places * len(contexts) for name, places in seen.items()}
    words["via"] = [word for places in via for word in places]
    words["aws_service"] = [word for places in services for word in places]
    own = [("", "") if tgw else (observer, observer) for observer in observers]
    words["local_uid"] = [word for pair in own for word in (*pair, "", "")]
    return words
