"""The server put together from its configuration: every part, and in which order they live."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware

from flowcost import clock
from flowcost.access.gate import Gate
from flowcost.config import Config, Cost
from flowcost.errors import NotPermittedError
from flowcost.insights.alerting import Alerting
from flowcost.insights.anomalies import AnomalyWatch
from flowcost.insights.cost_summary import CLASSES, Prices
from flowcost.insights.cost_summary import Settings as CostSettings
from flowcost.insights.savings import SavingsWatch
from flowcost.ledger import Ledger
from flowcost.price import RateBook, list_book, load_book, load_price_table
from flowcost.price.table import published_table
from flowcost.resolve.rules import parse_owners, parse_zones
from flowcost.server import application, process
from flowcost.server.inbox import Inbox
from flowcost.server.keeping import Keeping
from flowcost.server.knowledge import Knowledge
from flowcost.server.live import Live
from flowcost.server.watching import Watching
from flowcost.views import api, metrics, sign_in, web
from flowcost.views.authentication import Authentication
from flowcost.views.instruments import CountedInbox, Instruments, Timed
from flowcost.views.service import Service

LOG = logging.getLogger("flowcost.server")
VIEWS = (api, metrics, sign_in, web)  # the first route that matches answers
STATE = ".serve"  # below the ledger: what the server keeps beside the money


def serve(config: Config) -> None:
    """Run the server until a signal ends it.

    Raises:
        FlowcostError: it cannot start; what is in the way is named.
    """
    sock = process.listen(config.server)
    with sock, parts(config) as service:
        _greet(config, service)
        process.run(answering(service), config.server, sock)


def answering(service: Service) -> Starlette:
    """Return the application that answers for a service."""
    return application.build(
        [route for views in VIEWS for route in views.routes(service)],
        [
            Middleware(Timed, instruments=service.instruments),
            Middleware(Authentication, service=service),
        ],
    )


@contextmanager
def parts(config: Config, *, now: Callable[[], datetime] = clock.now) -> Iterator[Service]:
    """Yield the service of a configuration, with everything behind it running.

    Raises:
        FlowcostError: a part cannot start; the others are stopped again.
    """
    ledger = Ledger.open(config.ledger.path, create=True)
    state = ledger.root / STATE
    state.mkdir(mode=0o700, exist_ok=True)
    rates = _rates(config.rates.books)
    declared = (parse_zones(config.inventory.zones), parse_owners(config.inventory.services))
    knowledge = Knowledge(
        ledger.root, config.inventory.path, config.inventory.tenants, rules=declared
    )
    knowledge.check()
    with ExitStack() as held:
        held.enter_context(_alone(state))
        gate = Gate(state, config.access, host=config.server.address[0], now=now)
        held.callback(gate.close)
        inbox = Inbox(state, config.inbox, now=now)
        held.callback(inbox.close)
        watching = Watching(
            state / "identities",
            config.clusters,
            keep=config.retention.identities,
            inventory=knowledge.inventory,
            posted=inbox.states,
            now=now,
        )
        live = Live(
            ledger,
            inbox,
            knowledge,
            rates,
            settings=config.live,
            retention=config.retention,
            now=now,
        )
        alerting = Alerting(
            ledger,
            state / "signals.sqlite",
            budgets=config.budgets,
            watches=[
                *(AnomalyWatch(ledger, rule) for rule in config.anomalies),
                *(SavingsWatch(ledger, rule) for rule in config.savings),
            ],
            settings=config.signals,
            now=now,
        )
        held.callback(alerting.stop)
        if inbox.begun_empty or inbox.salvaged:
            live.teach(inbox)
        if inbox.salvaged:
            LOG.error("%s", inbox.salvaged)
        held.enter_context(watching)
        live.start()
        held.callback(live.close)
        alerting.start()
        keeping = Keeping(ledger, config.retention, lateness=config.live.lateness, now=now)
        keeping.start()
        held.callback(keeping.close)
        instruments = Instruments()
        yield Service(
            ledger=Ledger(ledger.root, shared=True),
            inbox=CountedInbox(inbox, instruments),
            live=live,
            clusters=watching,
            budgets=alerting,
            incidents=alerting,
            now=now,
            access=gate,
            instruments=instruments,
            cost=_cost(config.cost),
        )


def _cost(asked: Cost) -> CostSettings | None:
    """Return how the cost summary is made, None if it is not.

    Raises:
        RateError: the price table cannot be taken.
    """
    if not asked.enabled:
        return None
    table = published_table()
    if asked.prices_file is not None:
        table, findings = load_price_table(asked.prices_file)
        for finding in findings:
            LOG.warning("price table %s: %s %s", finding.subject, finding.sample, finding.hint)
    prices = Prices(
        per_gib={CLASSES[path]: price for path, price in table.per_gib.items()},
        source=table.source,
        as_of=table.as_of,
        license=table.license,
    )
    return CostSettings(
        prices=prices if asked.priced else None, lifetime=asked.chatty_window == "lifetime"
    )


def _rates(books: Sequence[Path]) -> RateBook:
    book = list_book()
    for path in books:
        book, findings = load_book(path, book)
        for finding in findings:
            LOG.warning("rate book %s: %s %s", path, finding.subject, finding.hint)
    return book


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Hold the state for one server; the kernel frees it when the process dies."""
    with (state / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotPermittedError(
                f"{state.parent} is served by another process",
                hint="stop it, or name another ledger",
            ) from None
        yield


def _greet(config: Config, service: Service) -> None:
    if service.access.is_open:
        LOG.warning(
            "open: whoever reaches %s is the administrator of tenant default, because it is on "
            "loopback and no access is configured",
            config.server.listen,
        )
