"""Addresses are 16 bytes and their scope is our own table."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost.address import Scope, family, network, pack, scope, unpack


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.50", Scope.PUBLIC),  # documentation networks count as public
        ("198.51.100.7", Scope.PUBLIC),
        ("192.0.2.1", Scope.PUBLIC),
        ("198.18.0.1", Scope.PUBLIC),
        ("100.64.0.1", Scope.PRIVATE),
        ("10.1.2.3", Scope.PRIVATE),
        ("172.31.255.255", Scope.PRIVATE),
        ("172.32.0.0", Scope.PUBLIC),
        ("192.168.1.1", Scope.PRIVATE),
        ("169.254.169.254", Scope.INFRASTRUCTURE),
        ("169.254.1.1", Scope.INFRASTRUCTURE),
        ("168.63.129.16", Scope.INFRASTRUCTURE),
        ("168.63.129.17", Scope.PUBLIC),
        ("224.0.0.1", Scope.UNROUTABLE),
        ("255.255.255.255", Scope.UNROUTABLE),
        ("0.0.0.0", Scope.UNROUTABLE),
        ("127.0.0.1", Scope.UNROUTABLE),
        ("11.0.0.1", Scope.PUBLIC),
        ("fd00:ec2::254", Scope.INFRASTRUCTURE),
        ("fd00::1", Scope.PRIVATE),
        ("fe80::1", Scope.INFRASTRUCTURE),
        ("2600:1f00::1", Scope.PUBLIC),
        ("64:ff9b::8.8.8.8", Scope.PUBLIC),
        ("ff02::1", Scope.UNROUTABLE),
        ("::1", Scope.UNROUTABLE),
        ("::", Scope.UNROUTABLE),
        ("::ffff:10.0.0.1", Scope.PRIVATE),
    ],
)
def test_scope_of_an_address(text, expected):
    assert scope(pack(text)) is expected


@given(st.ip_addresses())
def test_packing_and_unpacking_gives_the_address_back(address):
    packed = pack(str(address))
    assert len(packed) == 16
    back = ipaddress.ip_address(unpack(packed))
    mapped = getattr(address, "ipv4_mapped", None)
    assert back == (mapped or address)
    assert family(packed) == (4 if address.version == 4 or mapped else 6)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_spans_what_the_standard_library_says(address, length):
    expected = ipaddress.ip_network((address, length), strict=False)
    assert network(str(expected)) == (pack(str(expected[0])), pack(str(expected[-1])))


def test_a_zone_suffix_is_dropped():
    assert pack("fe80::1%eth0") == pack("fe80::1")


@pytest.mark.parametrize("text", ["not-an-ip", "", "1.2.3", "1.2.3.4.5", "::g", "10.0.0.0.0/8"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="not an IP address"):
        pack(text)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/x", "::1/64"])
def test_what_is_no_block_is_refused(text):
    with pytest.raises(ValueError, match=r"host bits|prefix length|CIDR"):
        network(text)
