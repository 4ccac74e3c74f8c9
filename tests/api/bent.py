"""A whole server, asked bent requests in-process: what it must never answer."""

import random
from contextlib import contextmanager
from pathlib import Path

import anyio
from msgspec.structs import replace

from flowcost import serving
from flowcost.access.principal import Principal, Role
from flowcost.config import load
from flowcost.model import EndKind, Identity
from flowcost.money import GIB
from tests.api.requests import request
from tests.conftest import CART, CHECKOUT, charge, write

# Words that stand in one tenant's (or scope's) ledger, and that no request spells.
HIDDEN = {"t1": "qzxseen", "t1-hidden": "wvkhidden", "t2": "jprother"}
AT_ONCE = 6
GROWTH = 400 << 20  # bytes a server may grow by, once it is warm


def ledgers(folder):
    """Write a ledger of two tenants, one of them with a part that a scope hides."""
    for tenant, words in (("t1", ("t1", "t1-hidden")), ("t2", ("t2",))):
        rows = []
        for word in words:
            ends = [
                replace(end, k8s_namespace_name=HIDDEN[word], owner_team=f"{HIDDEN[word]}-team",
                        service_name=HIDDEN[word], k8s_workload_name=f"{HIDDEN[word]}-{n}")
                for n, end in enumerate((CART, CHECKOUT))
            ]  # fmt: skip
            paths = {"cross_az": "DataTransfer-Regional-Bytes", "same_zone": "", "unknown": ""}
            rows += [
                charge(path, meter, price=path != "unknown", local=ends[0], remote=ends[1],
                       bytes=GIB, quantity=GIB, dialed_service=f"{HIDDEN[word]}/x")
                for path, meter in paths.items()
            ]  # fmt: skip
            rows.append(charge("nat_gateway", "NatGateway-Bytes", local=ends[0], bytes=5,
                               quantity=5, remote=Identity(kind=EndKind.INTERNET),
                               resource_id=f"nat-{HIDDEN[word]}"))  # fmt: skip
        write(folder, rows, tenant)


@contextmanager
def server(folder):
    """Run everything that `flowcost serve` does, but for the socket; yield it and its askers."""
    ledgers(folder / "ledger")
    environment = {
        "FLOWCOST__LEDGER__PATH": str(folder / "ledger"),
        "FLOWCOST__ACCESS__REQUIRED": "true",
        "FLOWCOST__SIGNALS__BUDGETS": f"team:{HIDDEN['t1-hidden']}-team=1",
        "FLOWCOST__INBOX__FREE_BYTES": "0",
    }
    with serving.parts(load(None, environment)) as service:
        yield serving.answering(service), askers(service.access)


def askers(gate):
    """Return who asks and with what: name -> headers. A name starts with its tenant."""
    people = {
        "t1 admin": Principal(tenant="t1", subject="a", role=Role.ADMIN),
        "t1 scoped": Principal(
            tenant="t1", subject="s", role=Role.ADMIN, namespaces=(HIDDEN["t1"],)
        ),
        "t2 viewer": Principal(tenant="t2", subject="v"),
        "t2 editor": Principal(tenant="t2", subject="e", role=Role.EDITOR),
        "t1 agents": Principal(tenant="t1", subject="p", cluster="prod"),
        "t3 agents": Principal(tenant="t3", subject="p", cluster="prod"),
    }
    found = {"nobody": [], "garbage": [(b"authorization", b"Bearer x.y.z")]}
    for name, principal in people.items():
        _, text = gate.tokens.create(principal, name, by="test", now=gate.now())
        found[name] = [(b"authorization", f"Bearer {text}".encode())]
    return found


def forbidden_words(who):
    """Return what an answer to `who` must not hold."""
    seen = {"t1 admin": {"t1", "t1-hidden"}, "t1 scoped": {"t1"}}
    seen |= {name: {"t2"} for name in ("t2 viewer", "t2 editor")}
    return [word for name, word in HIDDEN.items() if name not in seen.get(who, set())]


async def answer(app, sent):
    """Return status, headers and body of the answer to one request."""
    parts = iter(sent.body)
    found = {"status": None, "headers": {}, "body": b""}

    async def receive():
        part = next(parts, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(message):
        if message["type"] == "http.response.start":
            found["status"] = message["status"]
            found["headers"] = {name.lower(): value for name, value in message["headers"]}
        else:
            found["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": sent.method,
        "scheme": "http",
        "path": sent.path,
        "raw_path": sent.path.encode(),
        "query_string": sent.query,
        "root_path": "",
        "headers": list(sent.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return found


def troubles(sent, found):
    """Yield what is wrong with an answer."""
    status, headers, body = found["status"], found["headers"], found["body"]
    if status is None or (status >= 500 and not (status == 503 and b"retry-after" in headers)):
        yield f"status {status}: {body[:300]!r}"
    of_api = sent.path.startswith("/v1/") and sent.method != "HEAD"
    kind = headers.get(b"content-type")
    if of_api and status and status >= 400 and kind != b"application/problem+json":
        yield f"{status} is no problem: {kind!r}"
    for word in forbidden_words(sent.who):
        if word.encode() in body:
            yield f"tells {word} to {sent.who}"


def resident():
    """Return the bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def ask(folder, count, seed=0, tell=None):
    """Ask `count` bent requests; return the statuses that came and what was wrong."""
    statuses, wrong, warm = {}, [], [0]

    async def asking(app, who, numbers):
        for number in numbers:
            sent = request(random.Random(f"{seed}-{number}"), who)
            try:
                found = await answer(app, sent)
            except Exception as error:  # noqa: BLE001 - whatever escapes is what is looked for
                found = {"status": None, "headers": {}, "body": repr(error).encode()}
            statuses[found["status"]] = statuses.get(found["status"], 0) + 1
            wrong.extend((number, sent, what) for what in troubles(sent, found))
            done = sum(statuses.values())
            if done == count // 4:
                warm[0] = resident()
            if tell and done % 5000 == 0:
                tell(done, resident(), dict(statuses), len(wrong))

    async def everything():
        with server(folder) as (app, who):
            numbers = iter(range(count))  # shared: each number is asked once
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(asking, app, who, numbers)
            grown = resident() - warm[0]
            if grown > GROWTH:
                wrong.append((None, None, f"grew by {grown >> 20} MiB"))

    anyio.run(everything)
    return statuses, wrong
