"""An address that changes hands inside an hour is resolved to whoever held it (law 5)."""

from datetime import UTC, datetime

from flowcost.address import pack
from flowcost.model import Identity
from flowcost.pipeline.knowledge import knowledge_of
from flowcost.resolve import ALWAYS, FOREVER, HostInterval, Resolution


def test_readers_are_told_the_second_at_which_an_address_changed_hands():
    edge = datetime(2026, 10, 5, 12, 20, 0, 500_000, UTC)
    on_the_hour = datetime(2026, 10, 5, 14, tzinfo=UTC)
    hosts = (
        HostInterval(pack("10.0.0.5"), ALWAYS, edge, 1),
        HostInterval(pack("10.0.0.5"), edge, on_the_hour, 2),
        HostInterval(pack("10.0.0.5"), on_the_hour, FOREVER, 3),
    )
    known = knowledge_of(Resolution(hosts=hosts, identities={1: Identity(), 2: Identity()}))
    # Records start at whole seconds: the first of the new owner's starts at 12:20:01.
    assert known.changes == {(pack("10.0.0.5"), int(edge.timestamp()) + 1)}
