"""`POST /v1/segments` over HTTP: whose it is, how large it may be, and when it is acknowledged."""

import gzip
import tracemalloc
import zlib

import anyio
import pytest
from starlette.testclient import TestClient

from flowcost import segment
from flowcost.errors import BusyError, SegmentError
from flowcost.views.service import NodeIdentities, Receipt
from tests.api.conftest import app_of, asker

PATH = "/v1/segments"


class Book:
    """An inbox that keeps what it is given."""

    def __init__(self):
        self.kept = []
        self.refuse = None

    def put(self, tenant, cluster, body):
        if self.refuse:
            raise self.refuse
        found = segment.decode(body, "posted")
        self.kept.append((tenant, cluster, found))
        return Receipt(found.epoch, found.sequence, fresh=True)


class Nodes:
    """Clusters of which every node has one answer."""

    def states(self, tenant):
        return []

    def for_node(self, tenant, cluster, node, *, known="", changes=False):
        if known == '"1"':
            return NodeIdentities(known, b"")
        since = ', "since": "x"' if changes and known else ""
        body = f'{{"cluster": "{tenant}/{cluster}/{node}"{since}}}'
        return NodeIdentities('"1"', gzip.compress(body.encode()))


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def post(shop, door, book):
    ask = asker(TestClient(app_of(shop, door.gate, inbox=book, clusters=Nodes())), door)

    def posted(content, who="agents", encoding=None):
        headers = {"content-type": segment.CONTENT_TYPE}
        if encoding:
            headers["content-encoding"] = encoding
        return ask(PATH, who, method="POST", content=content, headers=headers)

    posted.ask = ask
    return posted


def one(sequence=7):
    return segment.encode(
        segment.Segment(
            node="n", boot="b", epoch=3, sequence=sequence, window_start=0, window_end=60_000_000
        )
    )


def test_it_is_acknowledged_with_the_tenant_and_cluster_of_the_token(post, book):
    answer = post(one())
    assert (answer.status_code, answer.json()) == (200, {"acknowledged": [3, 7]})
    assert [(tenant, cluster) for tenant, cluster, _ in book.kept] == [("t1", "prod")]
    assert post(zlib.compress(one(8)), encoding="deflate").json() == {"acknowledged": [3, 8]}
    assert post(one(9), encoding="identity").status_code == 200


@pytest.mark.parametrize(
    ("who", "status"), [(None, 401), ("nobody", 401), ("viewer", 403), ("admin", 403)]
)
def test_who_may_not_post_does_not(post, book, who, status):
    assert post(one(), who).status_code == status
    assert book.kept == []


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", None),
        (b"nonsense", None),
        (b"nonsense", "deflate"),
        (zlib.compress(one())[:-3], "deflate"),
        (zlib.compress(one()) + b"more", "deflate"),
        (zlib.compress(zlib.compress(one())), "deflate"),
        (one(), "gzip"),
        (one(), "deflate, deflate"),
    ],
)
def test_what_is_no_segment_is_422(post, book, content, encoding):
    answer = post(content, encoding=encoding)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert book.kept == []


def test_what_the_inbox_refuses_is_422_and_what_it_cannot_take_is_503(post, book):
    book.refuse = SegmentError("names another cluster")
    assert post(one()).status_code == 422
    book.refuse = BusyError("the disk is full", retry_after_s=30)
    answer = post(one())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


def posted_in_parts(app, parts, headers):
    """Post without a client in between, which would hold the body itself; return the status."""
    sent = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }
    messages = iter(parts)

    async def receive():
        part = next(messages, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(message):
        sent.append(message)

    anyio.run(app, scope, receive, send)
    return sent[0]["status"]


def test_a_body_is_never_held_beyond_its_limit(shop, door, book):
    app = app_of(shop, door.gate, inbox=book)
    headers = door.headers("agents")
    bomb = zlib.compress(bytes(1 << 30), 9)  # a gibibyte in a megabyte
    endless = (bytes(1 << 20) for _ in range(1000))
    too_large = {"content-length": str(segment.MAX_BYTES + 1)}
    tracemalloc.start()
    assert posted_in_parts(app, [bomb], headers | {"content-encoding": "deflate"}) == 413
    assert posted_in_parts(app, endless, headers) == 413
    assert posted_in_parts(app, [], headers | too_large) == 413
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * segment.MAX_BYTES
    assert next(endless)  # it was not read to its end


def test_identities_are_of_the_token_s_cluster(post):
    answer = post.ask("/v1/agents/identities", "agents", node="node-a")
    assert answer.json() == {"cluster": "t1/prod/node-a"}
    tag = {"if-none-match": answer.headers["etag"]}
    again = post.ask("/v1/agents/identities", "agents", headers=tag, node="node-a")
    assert (again.status_code, again.content) == (304, b"")
    since = post.ask(
        "/v1/agents/identities", "agents", headers={"If-None-Match": '"0"'}, node="n", changes="1"
    )
    assert since.json()["since"] == "x"
    plain = post.ask(
        "/v1/agents/identities", "agents", headers={"Accept-Encoding": "identity"}, node="n"
    )
    assert "content-encoding" not in plain.headers
    assert plain.json()["cluster"].endswith("/n")
    assert post.ask("/v1/agents/identities", "agents").json()["parameters"] == {"node": "missing"}
