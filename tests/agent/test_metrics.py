import urllib.error
import urllib.request
from datetime import date
from decimal import Decimal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowcost import money
from flowcost.agent.exposition import COUNTER, Family, MetricsServer, render
from flowcost.agent.lines import Line
from flowcost.agent.metrics import families
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.model import Direction, EndKind, Identity, Path, Rate, Verdict

CART = Identity(
    kind=EndKind.COMPUTE,
    k8s_namespace_name="shop",
    k8s_workload_name="cart",
    k8s_pod_name="cart-0",
    k8s_pod_uid="u",
)
CENT = money.ONE // 100 // money.GIB
RATE = Rate(
    provider="aws",
    usage_type="DataTransfer-Regional-Bytes",
    operation="InterZone-Out",
    region="us-east-1",
    to_region="",
    tier_from=0,
    tier_to=None,
    effective_from=date(2024, 1, 1),
    effective_to=None,
    price=Decimal("0.01"),
    unit="GB",
    unit_bytes=1 << 30,
    currency="USD",
    sku="",
    source_url="https://aws.amazon.com/ec2/pricing/on-demand/",
    checked_on=date(2026, 11, 1),
)


def sent(path, size, *, priced=True, cost=0, direction=Direction.TRANSMIT):
    verdict = Verdict(path=path, rule="r", priced=priced)
    return Line(
        CART,
        Identity(),
        "shop/checkout",
        "",
        direction,
        verdict,
        size,
        3,
        cost,
        0 if priced else size,
    )


@pytest.fixture
def tally():
    tally = Tally()
    tally.take(
        [
            sent(Path.CROSS_AZ, 1 << 30, cost=CENT << 30),
            sent(Path.CROSS_AZ, 100, cost=CENT * 100, direction=Direction.RECEIVE),
            sent(Path.INTERNET_INGRESS, 10, direction=Direction.RECEIVE),
            sent(Path.UNKNOWN, 1 << 30, priced=False),
        ],
        0.0,
    )
    return tally


@pytest.fixture
def page(tally):
    return render(families(tally, Status(drains=7, cpu_milliseconds=1234), [RATE], "list"))


def samples(page, name):
    """Read the page with the client library's own parser."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name:
                found[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def one(page, name, **labels):
    (value,) = [
        value
        for found, value in samples(page, name).items()
        if labels.items() <= dict(found).items()
    ]
    return value


def test_the_page_is_read_whole_by_the_client_library(page):
    names = [family.name for family in text_string_to_metric_families(page)]
    assert len(names) == len(set(names))
    assert len(names) > 30


def test_bytes_and_dollars_are_told_by_path_and_direction(page):
    where = {"billing_path": "cross_az", "direction": "transmit"}
    assert one(page, "flowcost_network_io_bytes_total", **where) == 1 << 30
    assert one(page, "flowcost_network_list_cost_usd_total", **where) == 0.01
    assert one(page, "flowcost_pod_network_io_bytes_total", pod="cart-0", **where) == 1 << 30
    assert one(page, "flowcost_peer_network_io_bytes_total", peer="checkout", **where) == 1 << 30


def test_dollars_are_written_exactly(page):
    line = next(
        line
        for line in page.splitlines()
        if line.startswith("flowcost_network_list_cost_usd_total{")
        and 'direction="receive"' in line
        and "cross_az" in line
    )
    assert Decimal(line.split()[-1]) == Decimal(100) * Decimal("0.01") / (1 << 30)


def test_the_unknown_share_is_always_there(page):
    assert one(page, "flowcost_unknown_bytes_ratio") == pytest.approx(0.5, abs=1e-6)
    assert one(page, "flowcost_network_unpriced_bytes_total", billing_path="unknown") == 1 << 30


def test_a_rate_says_since_when_it_holds_and_who_says_so(page):
    assert (
        one(
            page,
            "flowcost_rate_info",
            book="list",
            operation="InterZone-Out",
            price="0.01",
            effective_from="2024-01-01",
            checked_on="2026-11-01",
        )
        == 1
    )


def test_the_agent_tells_how_it_fares(page):
    assert one(page, "flowcost_agent_drains_total") == 7
    assert one(page, "flowcost_agent_cpu_seconds_total") == 1.234
    for name in ("join_misses_total", "map_capacity", "lost_packets_total", "spool_bytes"):
        assert one(page, f"flowcost_agent_{name}") == 0


def test_the_compatibility_names_carry_the_same_bytes(page):
    assert one(page, "tollwing_tx_bytes_total", traffic_type="cross_az") == 1 << 30
    assert one(page, "tollwing_rx_bytes_total", traffic_type="internet_egress") == 10
    assert one(page, "tollwing_pod_tx_bytes_total", namespace="shop", pod="cart-0") == 2 << 30
    assert one(page, "tollwing_cost_usd_total", traffic_type="cross_az") == 0.01
    assert one(page, "tollwing_pod_cost_usd_total", pod="cart-0") == 0.01
    assert one(page, "tollwing_poll_total") == 7


def test_an_unmodified_opencost_finds_its_labels_and_no_unclassified_byte(page):
    found = samples(page, "kubecost_pod_network_egress_bytes_total")
    assert list(found.values()) == [1 << 30]
    (labels,) = found
    assert dict(labels) == {
        "namespace": "shop",
        "pod_name": "cart-0",
        "internet": "false",
        "same_zone": "false",
        "same_region": "true",
        "nat_gateway": "false",
        "service": "",
    }


def test_what_is_not_measured_is_absent_and_not_zero(page):
    assert "tollwing_retransmit" not in page
    assert "tollwing_connections_closed" not in page


def test_labels_are_escaped():
    odd = 'a"b\\c\nd'
    text = render([Family("x_total", COUNTER, "odd\nhelp", ("l",), [((odd,), 1)])])
    assert samples(text, "x_total") == {(("l", odd),): 1}


def test_the_page_and_the_health_are_served():
    health = [(True, "ok\n")]
    server = MetricsServer(("127.0.0.1", 0), lambda: "x 1\n", lambda: health[0])
    try:
        url = f"http://127.0.0.1:{server.port}"
        with urllib.request.urlopen(f"{url}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert answer.read() == b"x 1\n"
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            assert answer.status == 200
        health[0] = False, "no drain lately\n"
        for path, status in (("/healthz", 503), ("/else", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{url}{path}")
            assert refused.value.code == status
            refused.value.close()
    finally:
        server.close()
