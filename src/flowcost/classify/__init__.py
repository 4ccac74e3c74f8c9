"""Which billing path and which meters, by which rule.

`classify(facts, on)` is a pure function: agent, batch run, server and cluster engine call it with
distinct facts and get the same verdict. A provider is one module with a `classify` of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from flowcost.classify import aws
from flowcost.classify.facts import assemble, mirror
from flowcost.model import Facts, Path, Verdict

__all__ = ["PROVIDERS", "assemble", "classify", "mirror"]

PROVIDERS: dict[str, Callable[[Facts, date], Verdict]] = {"aws": aws.classify}


def classify(facts: Facts, on: date) -> Verdict:
    """Return the billing path and meters of `facts` by the rules that held on day `on` (UTC).

    An unknown provider is an unknown path: bytes are kept and shown, nothing is priced.
    """
    rules = PROVIDERS.get(facts.provider)
    if rules is None:
        return Verdict(
            path=Path.UNKNOWN,
            rule="unknown.provider",
            evidence=(f"provider {facts.provider or 'not known'} has no rules",),
            priced=False,
        )
    return rules(facts, on)
