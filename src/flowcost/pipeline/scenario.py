"""A scenario is a folder: flows, a declared world, and what they must cost.

The same folders are the demo, the golden tests and documentation. `run` is the real pipeline on
a ledger of its own.
"""

from __future__ import annotations

import hashlib
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
from msgspec import Struct

from flowcost import clock
from flowcost.errors import SourceError
from flowcost.ledger import Input, Ledger
from flowcost.pipeline.attribute import Attributed, attribute
from flowcost.pipeline.columns import columns_of
from flowcost.pipeline.tiering import settle
from flowcost.pipeline.world import World
from flowcost.price import RateBook, list_book
from flowcost.resolve import Layer, declared, timeline
from flowcost.sources import flow_csv

FOLDER = Path(__file__).parents[1] / "scenarios"


class About(Struct, frozen=True, forbid_unknown_fields=True):
    """`scenario.toml`: what happens and what it shows."""

    title: str
    text: str
    demo: int = 0
    headline: bool = False
    tools: str = ""
    traps: tuple[int, ...] = ()
    tiering: str = "marginal"
    assume_provider: str = ""


class Scenario(Struct, frozen=True):
    """A loaded folder, ready to run."""

    name: str
    about: About
    flows: pa.Table
    world: Layer
    inputs: tuple[Input, ...]


class Outcome(Struct, frozen=True):
    """A scenario's ledger and what attribution reported."""

    scenario: Scenario
    ledger: Ledger
    attributed: Attributed


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all scenarios in `folder`."""
    return sorted(path.parent.name for path in folder.glob("*/scenario.toml"))


def load(folder: Path) -> Scenario:
    """Read one scenario folder.

    Raises:
        SourceError: a file is missing or malformed; file, row and field are named.
        InventoryError: the declared world is malformed.
    """
    about_path, flows_path, world_path = (
        folder / name for name in ("scenario.toml", "flows.csv", "declared.toml")
    )
    for path in (about_path, flows_path, world_path):
        if not path.is_file():
            raise SourceError(f"{path}: missing", hint="a scenario needs this file")
    try:
        about = msgspec.convert(tomllib.loads(about_path.read_text()), About)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SourceError(f"{about_path}: {error}") from None
    return Scenario(
        name=folder.name,
        about=about,
        flows=flow_csv.read(flows_path),
        world=declared.read(world_path),
        inputs=tuple(
            Input(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in (flows_path, world_path)
        ),
    )


@contextmanager
def run(scenario: Scenario, rates: RateBook | None = None) -> Iterator[Outcome]:
    """Run the pipeline over a scenario into a temporary ledger that lives inside the context."""
    with tempfile.TemporaryDirectory(prefix="flowcost-") as folder, duckdb.connect() as con:
        con.register("flows", scenario.flows)
        ledger = Ledger.open(folder, create=True)
        attributed = attribute(
            con,
            World(con, columns_of(timeline.build([scenario.world]))),
            rates or list_book(),
            ledger,
            lambda _: scenario.inputs,
            assume_provider=scenario.about.assume_provider,
        )
        if scenario.about.tiering == "account_meter":
            for month in sorted({clock.month_of(p.hour) for p in attributed.partitions}):
                settle(ledger, rates or list_book(), tenant="demo", month=month)
        yield Outcome(scenario, ledger, attributed)
