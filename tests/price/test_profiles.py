"""Literal profiles reproduce published figures to the last digit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost import money
from flowcost.model import Path
from flowcost.price import BILL, PROFILES, Basis, price_literal

GIB = 2**30
HALF = GIB // 2

# The nine rows of the demo: bytes sent and received, page figure, figure of the code.
DEMO = [
    (Path.SAME_ZONE, HALF, HALF, "0", "0"),
    (Path.CROSS_AZ, HALF, HALF, "0.01", "0.01"),
    (Path.CROSS_REGION, HALF, HALF, "0.02", "0.01"),
    (Path.NAT_GATEWAY, 2 * GIB, 0, "0.09", "0.27"),
    (Path.INTERNET_EGRESS, 5 * GIB, 0, "0.36", "0.45"),
    (Path.VPC_PEERING, HALF, HALF, "0.01", "0.01"),
    (Path.TRANSIT_GATEWAY, HALF, HALF, "0.02", "0.01"),
    (Path.VPC_ENDPOINT, HALF, HALF, "0.01", "0.01"),
    (Path.CLOUD_SERVICE_PUBLIC, HALF, HALF, "0", "0"),
]


def dollars(profile, path, tx, rx=0, provider="aws"):
    amount = price_literal(PROFILES[profile], path, tx, rx, provider)
    return None if amount is None else money.exact(amount)


@pytest.mark.parametrize(("path", "tx", "rx", "page", "code"), DEMO)
def test_the_demo_table_in_both_published_readings(path, tx, rx, page, code):
    assert dollars("page_2025", path, tx, rx) == page
    assert dollars("tx_only", path, tx, rx) == code


def test_the_demo_table_covers_the_nine_paths():
    assert len({row[0] for row in DEMO}) == 9


@pytest.mark.parametrize(
    ("path", "gib", "expected"),
    [
        (Path.CROSS_AZ, 10, "0.1"),
        (Path.CROSS_REGION, 5, "0.1"),
        (Path.INTERNET_EGRESS, 2, "0.18"),
        (Path.SAME_ZONE, 100, "0"),
    ],
)
def test_the_summary_fixture_per_class(path, gib, expected):
    assert dollars("per_class", path, gib * GIB) == expected


def test_the_summary_fixture_totals_38_cents_for_checkout():
    flows = [(Path.CROSS_AZ, 10), (Path.CROSS_REGION, 5), (Path.INTERNET_EGRESS, 2)]
    total = sum(
        price_literal(PROFILES["per_class"], path, gib * GIB, 0, "aws") for path, gib in flows
    )
    assert total == money.from_decimal(Decimal("0.38"))


def test_one_price_per_class_leaves_finer_paths_unpriced_rather_than_near():
    priced = {Path.SAME_ZONE, Path.CROSS_AZ, Path.CROSS_REGION, Path.INTERNET_EGRESS}
    for path in Path:
        assert (dollars("per_class", path, GIB) is not None) == (path in priced)


@pytest.mark.parametrize(
    ("provider", "path", "expected"),
    [
        ("aws", Path.CROSS_AZ, "0.02"),
        ("gcp", Path.CROSS_AZ, "0.02"),
        ("azure", Path.CROSS_AZ, "0"),
        ("oci", Path.CROSS_AZ, "0"),
        ("aws", Path.INTERNET_EGRESS, "0.18"),
        ("azure", Path.INTERNET_EGRESS, "0.174"),
        ("gcp", Path.INTERNET_EGRESS, "0.24"),
        ("oci", Path.INTERNET_EGRESS, "0.017"),
        ("aws", Path.VPC_ENDPOINT, "0.02"),
        ("aws", Path.SAME_ZONE, "0"),
        ("aws", Path.EXTERNAL_PRIVATE, "0"),
        ("aws", Path.UNKNOWN, None),
        ("aws", Path.INTERNET_INGRESS, None),
        ("ibm", Path.INTERNET_EGRESS, "0.18"),
    ],
)
def test_traffic_types_price_sent_and_received_bytes_alike(provider, path, expected):
    assert dollars("txrx_flat", path, GIB, GIB, provider) == expected


def test_only_the_profile_that_says_so_lends_rates_to_an_unknown_provider_and_labels_it():
    assert PROFILES["txrx_flat"].assumes("ibm")
    assert not PROFILES["txrx_flat"].assumes("gcp")
    assert not PROFILES["page_2025"].assumes("ibm")
    assert not PROFILES["per_class"].assumes("ibm")
    assert dollars("page_2025", Path.INTERNET_EGRESS, GIB, provider="ibm") is None


def test_the_default_is_the_bill_with_two_legs_and_it_has_no_table_of_its_own():
    assert (BILL.cross_az_legs, BILL.basis, BILL.literal) == (2, Basis.ACCOUNT_BILL, False)
    with pytest.raises(ValueError, match="priced by verdict and rate book"):
        price_literal(BILL, Path.CROSS_AZ, GIB, 0, "aws")


def test_every_literal_profile_says_that_it_counts_one_leg():
    for profile in PROFILES.values():
        if profile.literal:
            assert (profile.cross_az_legs, profile.basis) == (1, Basis.PER_LEG)


def test_negative_bytes_are_refused():
    with pytest.raises(ValueError, match="must not be negative"):
        price_literal(PROFILES["tx_only"], Path.CROSS_AZ, -1, 0, "aws")


@given(
    st.sampled_from([name for name, profile in PROFILES.items() if profile.literal]),
    st.sampled_from(list(Path)),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
)
def test_more_bytes_never_cost_less(name, path, tx, rx, more):
    profile = PROFILES[name]
    before = price_literal(profile, path, tx, rx, "aws")
    after = price_literal(profile, path, tx + more, rx + more, "aws")
    assert (before is None) == (after is None)
    assert before is None or before <= after
