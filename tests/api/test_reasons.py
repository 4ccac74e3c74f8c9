"""Why, what to look at, how far to trust it, and how to ask: bounded like everything else."""

from flowcost.ledger.explain import explain
from flowcost.ledger.query import Selection
from flowcost.money import GIB
from flowcost.views.explanations import document


def test_an_explanation_is_that_of_the_command_line(api, shop):
    found = api("/v1/explain", filter="path = nat_gateway", top=1).json()["charges"]
    [expected] = explain(shop, Selection(tenant="t1", where="path = nat_gateway"), top=1)
    wanted = document(expected)
    assert found[0]["list_cost"] == wanted["list_cost"] == "0.18"
    assert found[0]["charge"] == wanted["charge"]
    assert found[0]["arithmetic"] == expected.arithmetic
    assert found[0]["rate"]["source_url"] == expected.rate.source_url
    assert found[0]["charge"]["source"] == "node-a"


def test_explanations_show_no_charge_outside_the_scope(api):
    charges = api("/v1/explain", "payments", top=100, filter="not path = nothing").json()["charges"]
    assert len(charges) == 3
    for each in charges:
        assert "payments" in (each["local"].get("owner.team"), each["remote"].get("owner.team"))


def test_findings_carry_the_filter_that_shows_them(api):
    found = {f["code"]: f for f in api("/v1/findings").json()["findings"]}
    unknown = found["unknown-path"]
    assert unknown["bytes"] == 3 * GIB
    assert api("/v1/totals", filter=unknown["filter"]).json()["bytes"] == 3 * GIB
    bounded = {f["code"] for f in api("/v1/findings", "payments").json()["findings"]}
    assert "unknown-path" not in bounded


def test_coverage_says_what_is_known_and_when_nothing_was_seen(api):
    found = api("/v1/coverage").json()
    assert found["totals"] == api("/v1/totals").json()
    assert found["proven_share"] == "97.2 %"
    assert found["hours_without_data"] == 13
    assert found["gaps"][0] == "2026-11-02T11:00:00Z"
    assert len(api("/v1/coverage", gaps=2).json()["gaps"]) == 2
    assert sum(row["bytes"] for row in found["sensors"]) == found["totals"]["bytes"]


def test_rates_have_a_source_an_age_and_what_they_made(api):
    found = api("/v1/rates").json()["rates"]
    regional = next(r for r in found if r["usage_type"] == "DataTransfer-Regional-Bytes")
    assert (regional["price"], regional["unit_bytes"], regional["age_days"]) == ("0.01", GIB, 2)
    unpriced = next(r for r in found if r["price"] is None)
    assert unpriced["quantity"] == 3 * GIB


def test_identities_are_who_pays(api):
    found = {row["name"]: row for row in api("/v1/identities").json()["rows"]}
    assert found["shop/checkout"]["owner.team"] == "payments"
    whole = api("/v1/totals").json()["bytes"]
    assert sum(row["bytes"] for row in found.values()) == whole


def test_keys_are_those_of_the_filter_language(api):
    found = api("/v1/keys").json()
    assert "path" in {key["name"] for key in found["keys"]}
    assert found["attribute_by"]["local"]
    assert "not in" in found["operators"]


def words(answer):
    return [each["text"] for each in answer.json()["suggestions"]]


def test_completion_offers_keys_operators_and_values(api):
    complete = "/v1/filter/complete"
    assert "path" in words(api(complete, text="pa"))
    assert "=" in words(api(complete, text="path "))
    assert words(api(complete, text="path = "))[0] == "nat_gateway"
    assert words(api(complete, text="path = cross_az "))[:2] == ["and", "or"]
    one = api(complete, text="owner.team = pay and path = x", position=16).json()["suggestions"][0]
    assert (one["text"], one["start"], one["end"], one["kind"]) == ("payments", 13, 16, "value")


def test_completion_offers_no_value_outside_the_scope(api):
    text = "local.k8s.workload.name = "
    assert "cart" in words(api("/v1/filter/complete", text=text))
    assert words(api("/v1/filter/complete", "nowhere", text=text)) == []
    assert words(api("/v1/filter/complete", "stranger", text=text)) == []
    # A filter in the window cannot widen it either.
    everything = {"text": text, "filter": "not path = nothing"}
    assert words(api("/v1/filter/complete", "nowhere", **everything)) == []
