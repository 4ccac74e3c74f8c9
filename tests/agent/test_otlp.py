"""The metrics as OTLP: the same numbers as on the page, to a collector that may be away."""

import json
from decimal import Decimal

import pytest

from flowcost.agent.endpoint import Endpoint
from flowcost.agent.exposition import COUNTER, GAUGE, Family
from flowcost.agent.metrics import families
from flowcost.agent.otlp import CUMULATIVE, Exporter, encode
from flowcost.agent.status import Status
from flowcost.agent.tally import Tally
from flowcost.model import Identity

NODE = Identity(k8s_node_name="node-a", cloud_region="us-east-1")
FAMILIES = [
    Family("x_bytes_total", COUNTER, "Bytes.", ("pod",), [(("cart",), 1 << 60)]),
    Family("x_usd_total", COUNTER, "Dollars.", (), [((), "0.010000000000000000000001")]),
    Family("x_entries", GAUGE, "Rows.", (), [((), 7)]),
    Family("x_none", GAUGE, "Nothing.", (), []),
]


def read(body):
    return json.loads(body, parse_float=Decimal)["resourceMetrics"][0]


def test_counters_are_cumulative_sums_and_numbers_stay_exact():
    found = read(encode(FAMILIES, NODE, start_ns=1, now_ns=2))
    by_name = {metric["name"]: metric for metric in found["scopeMetrics"][0]["metrics"]}
    assert set(by_name) == {"x_bytes_total", "x_usd_total", "x_entries"}
    size = by_name["x_bytes_total"]
    assert (size["unit"], size["sum"]["isMonotonic"]) == ("By", True)
    assert size["sum"]["aggregationTemporality"] == CUMULATIVE
    (point,) = size["sum"]["dataPoints"]
    assert point["asInt"] == str(1 << 60)
    assert point["attributes"] == [{"key": "pod", "value": {"stringValue": "cart"}}]
    assert (point["startTimeUnixNano"], point["timeUnixNano"]) == ("1", "2")
    (dollars,) = by_name["x_usd_total"]["sum"]["dataPoints"]
    assert dollars["asDouble"] == Decimal("0.010000000000000000000001")
    assert by_name["x_entries"]["gauge"]["dataPoints"][0]["asInt"] == "7"


def test_the_node_is_the_resource():
    attributes = read(encode(FAMILIES, NODE, start_ns=1, now_ns=2))["resource"]["attributes"]
    found = {one["key"]: one["value"]["stringValue"] for one in attributes}
    assert found["k8s.node.name"] == "node-a"
    assert found["service.name"] == "flowcost-agent"
    assert "cloud.account.id" not in found


def test_every_metric_of_the_page_is_there():
    pages = list(families(Tally(), Status(), (), ""))
    found = read(encode(pages, NODE, start_ns=1, now_ns=2))
    names = {metric["name"] for metric in found["scopeMetrics"][0]["metrics"]}
    assert names == {family.name for family in pages if list(family.samples)}
    assert len(names) > 25


@pytest.fixture
def exporter():
    made = []

    def make(url, **options):
        endpoint = Endpoint(url, what="OpenTelemetry collector", timeout_s=0.5)
        made.append(Exporter(endpoint, lambda: (FAMILIES, NODE), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_collector_that_is_away_is_said_once(serve, exporter, caplog):
    state = {"status": 503}
    url, asked = serve(lambda *_: (state["status"], b"{}"))
    pushing = exporter(url)
    for _ in range(3):
        pushing.push()
    assert pushing.failures == 3
    assert caplog.text.count("answered 503") == 1
    state["status"] = 200
    pushing.push()
    assert pushing.failures == 3
    assert [path for _, path, _ in asked] == ["/v1/metrics"] * 4
    nobody = exporter("http://127.0.0.1:9")
    nobody.push()
    assert nobody.failures == 1


def test_the_thread_pushes_and_pushes_a_last_time_at_the_end(serve, exporter):
    url, asked = serve(lambda *_: (200, b"{}"))
    pushing = exporter(url, interval_s=60.0)
    pushing.start()
    pushing.close()
    assert len(asked) == 1
