"""What may stand at the cursor of a filter: keys, operators, and values that the asker may see."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from flowcost.errors import FlowcostError
from flowcost.ledger import Ledger, keys
from flowcost.ledger.complete import Suggestion, complete
from flowcost.ledger.query import OTHER, Selection, costs
from flowcost.schema import Column
from flowcost.views.tables import plain

VALUES = 200  # of a key, dearest first


def completions(ledger: Ledger, selection: Selection, text: str, at: int) -> tuple[Suggestion, ...]:
    """Return what may replace the word of `text` that ends at `at`.

    Values are those of the selection's time and scope; its own filter is passed over.
    """
    everything = replace(selection, where="")
    return complete(text, at, lambda key: _values(ledger, everything, key))


def _values(ledger: Ledger, selection: Selection, key: str) -> Sequence[str]:
    if not key:
        return ()
    try:
        table = costs(ledger, selection, by=(key,), sort="-list_cost", limit=VALUES, offset=0)
    except FlowcostError:
        return ()  # a key that cannot be grouped has no values to offer
    known = keys.find(key)
    column = Column(known.name, known.type, known.doc)
    return [str(plain(column, row[0])) for row in table.rows if row[0] not in (None, "", OTHER)]
