import struct

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost.address import pack, unpack
from flowcost.agent.dns import Names, parse


def answer(question, *records, rcode=0):
    """Return the wire form of an answer, made by a library of its own."""
    reply = dns.message.make_response(dns.message.make_query(question, "A"))
    reply.set_rcode(rcode)
    for name, ttl, kind, value in records:
        reply.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, value))
    return reply.to_wire()


def test_an_address_is_named_by_the_question_not_by_the_last_alias():
    message = answer(
        "API.Example.com.",
        ("api.example.com.", 60, "CNAME", "edge.cdn.net."),
        ("edge.cdn.net.", 20, "A", "203.0.113.7"),
        ("edge.cdn.net.", 20, "A", "203.0.113.8"),
    )
    name, answers = parse(message)
    assert name == "api.example.com"
    assert [(unpack(a.address), a.ttl_s) for a in answers] == [
        ("203.0.113.7", 20),
        ("203.0.113.8", 20),
    ]


def test_ipv6_answers_are_read():
    _, answers = parse(answer("a.example.", ("a.example.", 5, "AAAA", "2001:db8::1")))
    assert [unpack(a.address) for a in answers] == ["2001:db8::1"]


def test_other_record_types_are_passed_over():
    message = answer(
        "a.example.",
        ("a.example.", 5, "TXT", '"10.0.0.1"'),
        ("a.example.", 5, "MX", "10 mail.example."),
        ("a.example.", 5, "A", "10.0.0.1"),
    )
    assert len(parse(message)[1]) == 1


@pytest.mark.parametrize(
    "message",
    [
        dns.message.make_query("a.example.", "A").to_wire(),
        answer("a.example.", rcode=3),
        b"",
        b"\x00" * 12,
    ],
    ids=["a question", "no such name", "nothing", "zeros"],
)
def test_what_is_no_answer_names_nothing(message):
    name, answers = parse(message)
    assert answers == []
    assert not name or not answers


def test_a_message_that_was_cut_gives_what_stands_before_the_cut():
    records = [("a.example.", 5, "A", f"10.0.0.{i}") for i in range(40)]
    whole = answer("a.example.", *records)
    name, answers = parse(whole[:300])
    assert name == "a.example"
    assert 0 < len(answers) < 40


def test_a_compression_loop_ends():
    looping = struct.pack("!HHHHHH", 1, 0x8180, 1, 1, 0, 0) + b"\xc0\x0c" + b"\x00\x01\x00\x01"
    assert parse(looping) == ("", [])


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail(noise):
    parse(struct.pack("!HHHHHH", 1, 0x8180, 1, 3, 0, 0) + noise)


@given(
    st.lists(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), min_size=1, max_size=4),
    st.lists(st.ip_addresses(v=4), min_size=1, max_size=8),
    st.integers(0, 86_400),
)
def test_every_answer_of_another_library_is_read_back(labels, addresses, ttl):
    question = ".".join(labels) + "."
    name, answers = parse(answer(question, *((question, ttl, "A", str(a)) for a in addresses)))
    assert name == question[:-1]
    assert {unpack(a.address) for a in answers} == {str(a) for a in addresses}
    assert {a.ttl_s for a in answers} == {ttl}


STRIPE = answer("api.stripe.com.", ("api.stripe.com.", 60, "A", "52.54.61.135"))


def test_a_name_holds_for_the_pod_that_asked():
    names = Names()
    assert names.learn("cart", STRIPE, now=0.0) == 1
    assert names.name("cart", pack("52.54.61.135"), 1.0) == "api.stripe.com"
    assert names.name("stock", pack("52.54.61.135"), 1.0) == ""


def test_a_name_outlives_its_ttl_by_the_grace_and_no_longer():
    names = Names(grace_s=300.0)
    names.learn("cart", STRIPE, now=0.0)
    assert names.name("cart", pack("52.54.61.135"), 359.0) == "api.stripe.com"
    assert names.name("cart", pack("52.54.61.135"), 360.0) == ""
    names.expire(360.0)
    assert len(names) == 0


def test_the_newest_answer_names_the_address():
    names = Names()
    names.learn("cart", STRIPE, now=0.0)
    names.learn("cart", answer("b.example.", ("b.example.", 1, "A", "52.54.61.135")), now=1.0)
    assert names.name("cart", pack("52.54.61.135"), 2.0) == "b.example"


def test_memory_is_bounded_and_the_oldest_names_go_first():
    names = Names(limit=10)
    for i in range(25):
        names.learn("cart", answer("a.example.", ("a.example.", 60, "A", f"10.0.0.{i}")), float(i))
    assert len(names) == 10
    assert names.evicted == 15
    assert names.name("cart", pack("10.0.0.24"), 25.0)
    assert not names.name("cart", pack("10.0.0.14"), 25.0)
