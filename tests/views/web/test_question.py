"""Addresses: one spelling per question, and the same question for ever."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost import clock
from flowcost.clock import HOUR
from flowcost.errors import UsageError
from flowcost.ledger.ends import ATTRIBUTE_BY
from flowcost.ledger.keys import keys
from flowcost.ledger.levels import Retired
from flowcost.views.web.question import MEASURES, Question, address, decode, encode
from flowcost.views.web.window import resolved

# Published addresses. A line may be added; a line that changes breaks somebody's link.
FOR_EVER = {
    "": Question(),
    "v=1": Question(),
    "v=1&by=owner,path&last=24h": Question(by=("owner", "path"), last="24h"),
    "v=1&filter=path+=+cross_az+and+owner.team+=+payments": Question(
        filter="path = cross_az and owner.team = payments"
    ),
    "v=1&from=2026-11-02&to=2026-11-02T10Z": Question(
        last="",
        start=datetime(2026, 11, 2, tzinfo=UTC),
        end=datetime(2026, 11, 2, 10, tzinfo=UTC),
    ),
    "v=1&by=conversation&last=all&attribute_by=source&legs=observed&measure=bytes&compare=off"
    "&sort=-conversation&top=100": Question(
        by=("conversation",),
        last="all",
        attribute_by="source",
        legs="observed",
        measure="bytes",
        compare=False,
        sort="-conversation",
        top=100,
    ),
    "v=1&filter=k8s.namespace.name+~+%22kube-*%22+or+not+stage+in+(dev,+%22a+b%22)": Question(
        filter='k8s.namespace.name ~ kube-* or not stage in (dev, "a b")'
    ),
}

_hours = st.integers(0, 700_000).map(lambda n: datetime(2015, 1, 1, tzinfo=UTC) + n * HOUR)
_filters = st.lists(
    st.builds(
        lambda key, value: f'{key} = "{value}"',
        st.sampled_from(["owner.team", "path", "conversation", "remote.name"]),
        st.text(max_size=12).map(lambda t: t.replace("\\", "").replace('"', "")),
    ),
    max_size=3,
).map(" and ".join)


@pytest.mark.parametrize(("query", "question"), FOR_EVER.items())
def test_a_published_address_means_what_it_meant(query, question):
    assert decode(query) == question


@pytest.mark.parametrize("query", [query for query in FOR_EVER if query.startswith("v=1&")])
def test_a_published_address_is_written_as_it_was(query):
    unquoted = query.replace("%22kube-*%22", "kube-*")  # quotes that are not needed go
    assert encode(decode(query)) == unquoted


@given(
    filter=_filters,
    by=st.lists(st.sampled_from(sorted(keys())), min_size=1, max_size=3, unique=True).map(tuple),
    times=st.one_of(
        st.sampled_from(["24h", "7d", "30d", "month", "all"]).map(lambda last: (last, None, None)),
        st.tuples(st.just(""), st.one_of(st.none(), _hours), _hours),
    ),
    attribute_by=st.sampled_from(sorted(ATTRIBUTE_BY)),
    legs=st.sampled_from(["all", "observed"]),
    measure=st.sampled_from(MEASURES),
    compare=st.booleans(),
    top=st.integers(1, 1000),
)
def test_every_question_survives_its_address(filter, by, times, **rest):  # noqa: A002
    last, start, end = times
    if start is not None and end is not None and start >= end:
        start = None
    asked = Question(filter="", by=by, last=last, start=start, end=end, **rest)
    found = decode(f"{encode(asked)}&filter={quote(filter)}")
    assert decode(encode(found)) == found
    assert encode(decode(encode(found))) == encode(found)
    assert (found.by, found.start, found.end, found.top) == (by, start, end, asked.top)


def test_a_form_is_understood_and_respelled():
    form = (
        "filter=path%3Dcross_az&by=owner&by=&by=path&from=2026-11-02T10%3A30&to=2026-11-02T12%3A01"
    )
    assert encode(decode(form)) == (
        "v=1&by=owner,path&filter=path+=+cross_az&from=2026-11-02T10Z&to=2026-11-02T13Z"
    )


def test_the_first_question_has_the_bare_address():
    assert address("/", Question()) == "/"
    assert address("/charges", Question(top=50)) == "/charges?v=1&top=50"


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("v=2", "version 2"),
        ("by=owner.tem", "unknown group key"),
        ("by=path,owner,stage,region", "4 group keys"),
        ("last=yesterday", "last=yesterday"),
        ("from=soon", "'soon' is not a time"),
        ("from=1066-10-14", "no time of flow logs"),
        ("from=2026-11-03&to=2026-11-02", "is not before"),
        ("attribute_by=me", "attribute_by=me"),
        ("measure=packets", "measure=packets"),
        ("top=0", "top=0"),
        ("top=9999", "top=9999"),
        ("sort=size", "unknown group key"),
        ("filter=" + "a" * 5000, "5000 characters"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_way_out(query, what):
    with pytest.raises(UsageError, match=what) as refused:
        decode(query)
    assert refused.value.hint


def test_a_filter_that_cannot_be_read_is_kept_as_typed():
    assert decode("filter=ownr+%3D+x").filter == "ownr = x"


@pytest.mark.parametrize(
    ("last", "start", "step"),
    [
        ("24h", "2026-11-25T09:00:00Z", "hour"),
        ("7d", "2026-11-19T09:00:00Z", "hour"),
        ("30d", "2026-10-28T00:00:00Z", "day"),  # whole days, today the thirtieth
        ("month", "2026-11-01T00:00:00Z", "day"),
    ],
)
def test_the_last_days_end_with_the_newest_hour_and_are_whole_where_days_are_drawn(
    last, start, step
):
    newest = clock.parse("2026-11-26T09:00:00Z")
    span = clock.parse("2026-01-01T00:00:00Z"), newest
    window = resolved(Question(last=last), span, Retired())
    assert (clock.iso(window.start), window.end, window.step) == (start, newest, step)
    midnight = clock.parse("2026-11-26T00:00:00Z")
    month = resolved(Question(last="30d"), (span[0], midnight), Retired())
    assert midnight - month.start == 30 * clock.DAY
