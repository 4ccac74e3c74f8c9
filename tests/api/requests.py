"""Requests that nobody should send: every endpoint, its parameters bent, under every kind of asker.

A request is drawn from a random generator alone, so that a seed and a number name it.
"""

import json
import zlib
from urllib.parse import quote_from_bytes

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from flowcost import segment
from flowcost.ledger import keys
from flowcost.ledger.filter import OPERATORS
from flowcost.views.api.table import endpoints

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "FOO")
ELSEWHERE = (
    "/", "/cost", "/costs", "/conversations", "/charges", "/explain", "/findings", "/coverage",
    "/rates", "/budgets", "/incidents", "/clusters", "/suggest", "/export.csv", "/login",
    "/login/callback", "/logout", "/metrics", "/healthz", "/openapi.json", "/static/flowcost.css",
    "/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/v1", "/v1/", "/v1/costs/",
    "/v1//costs", "/v1/tokens/", "/v2/costs", "/grafana/query", "//evil.example.org",
)  # fmt: skip
NASTY = (
    "", " ", "\0", "'", '"', "\\", "%", "%00", "a" * 5000, "-1", "0", "1e999", "NaN", "Infinity",
    "null", "true", "[]", "{}", "../../etc/passwd", "2026-02-31", "9999-12-31T23:59:59Z",
    "0001-01-01", "2026-11-02T10:00:00+99:99", "' OR 1=1 --", "1; DROP TABLE charges", "))))",
    "(" * 100, "not " * 70 + "path=x", "path=" + "(" * 70, "path in (" + "x," * 500 + "x)",
    "path ~ " + "*" * 200, 'path ~ "' + "%_" * 50 + '"', "<script>alert(1)</script>", "{{7*7}}",
    "\N{SNOWMAN}" * 10, "\u202e", "\ud7ff", "\U0001f600", "day > 2026-99-99", "hour = x",
    "local.address = 10.0.0.0/99", "local.address = ::/0", "path = cross_az and", "path",
    "99999999999999999999999", "0x10", "1_000", "١٢", "24h", "0h", "99999d", "path,path", ",",
    "hour,day,month,path,name,kind,owner,stage", "-list_cost", "--bytes", "sort", "\n", "\r\nx: y",
)  # fmt: skip
VALUES = ("cross_az", "prod", "payments", "shop", "10.0.0.0/8", "2026-11-02", "(other)", "x y")


class Sent(Struct, frozen=True):
    """One request as ASGI gives it; `who` names its asker."""

    who: str
    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: tuple[bytes, ...]


def request(draw, tokens):
    """Draw a request; `tokens` maps an asker to the credentials they send."""
    endpoint = draw.choice(endpoints())
    who = draw.choice(sorted(tokens))
    path = _path(draw, endpoint)
    method = endpoint.method if draw.random() < 0.92 else draw.choice(METHODS)
    if draw.random() < 0.12:
        path, method = draw.choice(ELSEWHERE), draw.choice(METHODS[:3])
    headers = [*tokens[who], *_headers(draw)]
    body = _body(draw, endpoint, headers)
    return Sent(who, method, path, _query(draw, endpoint), tuple(headers), tuple(body))


def _path(draw, endpoint):
    if "{id}" not in endpoint.path:
        return endpoint.path
    place = draw.choice(
        ["000000000000", "x", "..", "%2e%2e", "a" * 500, "\N{SNOWMAN}", "' --", "0"]
    )
    return endpoint.path.replace("{id}", place)


def _query(draw, endpoint):
    names = [field.encode_name for field in fields(endpoint.takes) if draw.random() < 0.3]
    pairs = [(name, _value(draw, name)) for name in names]
    if draw.random() < 0.06:
        pairs.append((draw.choice(["tenant", "x", "", "\0", "filter", "from"]), draw.choice(NASTY)))
    if pairs and draw.random() < 0.04:
        pairs.append(draw.choice(pairs))
    query = "&".join(f"{_coded(name)}={_coded(value)}" for name, value in pairs)
    if draw.random() < 0.04:
        query += draw.choice(["&", "&&=", "%", "%zz", "&a=%ff%fe", "=", ";x=1", "%ed%a0%80=1", "#"])
    return query.encode("latin-1", "replace")


def _coded(text):
    return quote_from_bytes(text.encode("utf-8", "replace"))


def _value(draw, name):
    if draw.random() < 0.35:
        return draw.choice(NASTY)
    match name:
        case "filter" | "text":
            return _filter(draw)
        case "by":
            return ",".join(draw.sample(sorted(keys.keys()), draw.randint(0, 4)))
        case "from" | "to":
            return draw.choice(["2026-11-01", "2026-11-02T10", "2026-11-03T00:00:00Z"])
        case "limit" | "top" | "gaps" | "position":
            return str(draw.randint(0, 30))
        case "last":
            return draw.choice(["24h", "90d"])
        case "sort":
            return draw.choice(["bytes", "-bytes", "-list_cost", "path", "name"])
        case "step":
            return draw.choice(["hour", "day", "month", ""])
        case "format":
            return draw.choice(["json", "csv", "parquet"])
        case "attribute_by":
            return draw.choice(["local", "initiator", "source", "private_side", "dialed_service"])
        case "legs":
            return draw.choice(["all", "observed"])
        case _:
            return draw.choice(["node-a", "open", "2026-11", "000000000000", ""])


def _filter(draw):
    terms = []
    for _ in range(draw.randint(1, 4)):
        value = json.dumps(draw.choice(VALUES + NASTY[:40])[:60], ensure_ascii=False)
        operator = draw.choice((*OPERATORS, "in"))
        value = f"({value})" if operator == "in" else value
        terms.append(f"{draw.choice(sorted(keys.keys()))} {operator} {value}")
    text = draw.choice([" and ", " or "]).join(terms)
    text = f"not ({text})" if draw.random() < 0.2 else text
    if draw.random() < 0.2:  # cut, or with a letter changed
        at = draw.randrange(len(text))
        text = text[:at] + draw.choice(["", "(", '"', "\\", "\0"]) + text[at + 1 :]
    return text


NAMES = (
    b"if-none-match", b"accept", b"cookie", b"content-length", b"host", b"origin",
    b"sec-fetch-site", b"content-encoding", b"x-forwarded-user", b"authorization", b"range",
    b"content-type", b"transfer-encoding",
)  # fmt: skip
CONTENTS = (
    b"", b"*", b'W/"x"', b"flowcost_session=x", b"\xff\xfe", b"-1", b"9" * 30, b"gzip", b"\t",
    b"evil.example.org", b"cross-site", b"admin", b"Bearer a.b.c", b"bytes=0-1", b"a" * 9000,
    b"identity",
)  # fmt: skip
BODIES = (
    b"", b"{", b"[]", b"null", b"\xff", b'{"a":' * 3000, b" " * 70_000, b'"x"', b"{}" * 9,
    b'{"name": "\\ud800"}', b'{"name":1,"name":2}',
)  # fmt: skip
ODD = (
    0, -1, 1 << 70, 1.5, None, True, [], {}, ["x"], ["x"] * 200, "viewer", "admin", "open",
    "dismissed", "prod", "ci",
)  # fmt: skip


def _headers(draw):
    return [(draw.choice(NAMES), draw.choice(CONTENTS))] if draw.random() < 0.2 else []


def _body(draw, endpoint, headers):
    if endpoint.consumes:
        return _segment(draw, headers)
    if endpoint.body is None and draw.random() < 0.97:
        return []
    if draw.random() < 0.3:
        return [draw.choice(BODIES)]
    known = [field.encode_name for field in fields(endpoint.body)] if endpoint.body else ["x"]
    chosen = [name for name in known if draw.random() < 0.6]
    return [json.dumps({name: draw.choice((*NASTY, *ODD)) for name in chosen}).encode()]


def _segment(draw, headers):
    now = 1_764_000_000_000_000 // segment.HOUR_US * segment.HOUR_US
    flows = [
        segment.Flow(
            local_uid=draw.choice(["", "uid-1"]),
            local_address=draw.randbytes(16),
            remote_address=bytes(10) + b"\xff\xff" + draw.randbytes(4),
            bytes=draw.randrange(1 << 40),
            packets=draw.randrange(1 << 20),
        )
        for _ in range(draw.randint(0, 3))
    ]
    content = segment.encode(
        segment.Segment(
            cluster=draw.choice(["", "prod", "other", "x" * 300]),
            node=draw.choice(["n1", "n2", "", "\0", "../x"]),
            boot="b",
            epoch=draw.choice([1, 2, -1, 1 << 62]),
            sequence=draw.choice([draw.randrange(1000), -1, (1 << 63) - 1]),
            window_start=now + draw.choice([0, 1, -1, -(1 << 50)]),
            window_end=now + draw.choice([60_000_000, 0, segment.HOUR_US + 1]),
            flows=segment.pack(flows),
        )
    )
    if draw.random() < 0.4:
        content = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        content = bytes(content)
    if draw.random() < 0.1:
        content = draw.choice([b"", msgspec.msgpack.encode({"flows": {"rows": 1 << 40}}),
                               msgspec.msgpack.encode([[[[]]]] * 50), b"\xdf\xff\xff\xff\xff",
                               b"\x91" * 4000, content[: len(content) // 2]])  # fmt: skip
    if draw.random() < 0.5:
        headers.append((b"content-encoding", b"deflate"))
        content = zlib.compress(content) if draw.random() < 0.9 else content
        if draw.random() < 0.02:
            content = zlib.compress(bytes(64 << 20))
    cut = draw.randrange(len(content) + 1)
    return [content[:cut], content[cut:]]
