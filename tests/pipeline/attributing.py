"""Attribute the relation `flows` of an engine into a ledger, at list prices."""

from duckdb import DuckDBPyConnection

from flowcost.ledger import Input, Ledger
from flowcost.pipeline.attribute import Attributed, attribute
from flowcost.pipeline.columns import columns_of
from flowcost.pipeline.world import World
from flowcost.price import list_book
from flowcost.resolve import Resolution


def attribute_flows(
    con: DuckDBPyConnection, resolution: Resolution, ledger: Ledger, *, provider: str = ""
) -> Attributed:
    world = World(con, columns_of(resolution))
    inputs = [Input("flows", "1")]
    return attribute(con, world, list_book(), ledger, lambda _: inputs, assume_provider=provider)
