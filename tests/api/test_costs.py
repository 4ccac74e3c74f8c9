"""`/v1/costs` says what `flowcost costs` says, and shows no more than the asker may see."""

import io
import json

import pyarrow.parquet as pq
import pytest

from flowcost.ledger.query import Selection, costs
from flowcost.money import GIB
from flowcost.views.tables import render


def test_rows_are_those_of_the_command_line(api, shop):
    for by in ("path", "owner.team,path", "conversation", "day,usage_type", ""):
        table = costs(shop, Selection(tenant="t1"), by=[name for name in by.split(",") if name])
        found = api("/v1/costs", by=by).json()
        assert found["rows"] == json.loads(render(table.columns, table.rows, "json"))
        assert found["next"] is None
        assert found["basis"] == "account_bill"


def test_csv_and_parquet_hold_the_same_rows(api):
    rows = api("/v1/costs", by="path").json()["rows"]
    lines = api("/v1/costs", by="path", format="csv").text.splitlines()
    assert [line.split(",") for line in lines[1:]] == [[str(v) for v in r.values()] for r in rows]
    answer = api("/v1/costs", by="path", format="parquet")
    assert pq.read_table(io.BytesIO(answer.content)).to_pylist() == rows


def test_pages_follow_each_other_to_the_end(api):
    whole = api("/v1/costs", by="path,operation", limit=100).json()["rows"]
    found, cursor = [], ""
    while cursor is not None:
        page = api("/v1/costs", by="path,operation", limit=2, cursor=cursor).json()
        assert len(page["rows"]) <= 2
        found += page["rows"]
        cursor = page["next"]
    assert found == whole
    assert api("/v1/costs", by="path", limit=2, format="csv").headers["flowcost-next"]


def test_a_cursor_is_good_for_its_own_question_only(api):
    cursor = api("/v1/costs", by="path", limit=1).json()["next"]
    assert api("/v1/costs", by="path", limit=3, cursor=cursor).status_code == 200
    for query in ({"by": "day"}, {"by": "path", "legs": "observed"}):
        answer = api("/v1/costs", cursor=cursor, **query)
        assert answer.status_code == 400
        assert answer.json()["parameters"] == {"cursor": "belongs to another question"}
    for cursor in ("x", "AAAA", "W10", "W251bGwsMV0", "é"):
        assert api("/v1/costs", cursor=cursor).json()["parameters"].keys() == {"cursor"}


def test_top_has_the_rest_in_one_row(api):
    whole = api("/v1/costs", by="").json()["rows"][0]
    rows = api("/v1/costs", by="path", top=1).json()["rows"]
    assert [row["path"] for row in rows] == ["nat_gateway", "(other)"]
    assert sum(row["bytes"] for row in rows) == whole["bytes"]


def test_a_step_is_in_ascending_time(api):
    rows = api("/v1/trends", step="hour", by="path").json()["rows"]
    assert [row["hour"] for row in rows] == sorted(row["hour"] for row in rows)
    assert rows[-1]["hour"] == "2026-11-03T00:00:00Z"
    assert (
        api("/v1/costs", step="day", by="path").json()
        == api("/v1/trends", step="day", by="path").json()
    )


def test_a_window_is_half_open_and_last_ends_now(api):
    day = api("/v1/totals", from_="2026-11-02", to="2026-11-03").json()
    assert day["bytes"] == 108 * GIB
    assert day["data_until"] == "2026-11-02T11:00:00Z"
    assert api("/v1/totals", last="2h").json()["bytes"] == 7


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"by": "pth"}, {"by"}),
        ({"by": "path,path"}, {"by"}),
        ({"by": ",".join(["path"] * 9)}, {"by"}),
        ({"sort": "nothing"}, {"sort"}),
        ({"step": "week"}, {"step"}),
        ({"step": "day", "by": "day"}, {"step"}),
        ({"limit": "0"}, {"limit"}),
        ({"limit": "many"}, {"limit"}),
        ({"limit": "10001", "top": "null", "format": "xml"}, {"limit", "top", "format"}),
        ({"from_": "yesterday", "to": "2026-13-01", "last": "1w"}, {"from", "to", "last"}),
        ({"from_": "2026-11-03", "to": "2026-11-03"}, {"from"}),
        ({"from_": "1969-01-01"}, {"from"}),
        ({"from_": "2026-11-03", "last": "1h"}, {"last"}),
        ({"legs": "some", "attribute_by": "me"}, {"legs", "attribute_by"}),
        ({"filter": "path = "}, {"filter"}),
        ({"filter": "x" * 5000}, {"filter"}),
        ({"filtr": "path = x", "tenant": "t2"}, {"filtr", "tenant"}),
    ],
)
def test_everything_wrong_is_named_at_once(api, query, names):
    answer = api("/v1/costs", **query)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["parameters"].keys() == names


def test_a_wrong_filter_points_at_its_column(api):
    found = api("/v1/costs", filter="path=cross_az and pth=1").json()
    assert found["position"] == 18
    assert found["hint"] == "did you mean path?"
    assert found["type"].endswith("errors.md#filter")


def test_a_parameter_given_twice_is_refused(api):
    answer = api("/v1/costs?legs=all&legs=observed")
    assert answer.json()["parameters"] == {"legs": "given twice"}


def test_an_answer_that_still_holds_is_not_sent_again(api):
    first = api("/v1/costs", by="path")
    tag = first.headers["etag"]
    again = api("/v1/costs", by="path", headers={"if-none-match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert first.headers["vary"] == "Authorization, Cookie"
    for who, query in (("viewer", {"by": "day"}), ("payments", {"by": "path"})):
        assert api("/v1/costs", who, headers={"if-none-match": tag}, **query).status_code == 200


def test_scopes_bound_totals_whatever_is_asked(api):
    assert api("/v1/totals", "payments").json()["bytes"] == 2 * GIB + 7
    everything = 'path = unknown or owner = "(unattributed)" or not path = nothing'
    assert api("/v1/totals", "payments", filter=everything).json()["bytes"] == 2 * GIB + 7
    assert api("/v1/totals", "nowhere").json()["days"] == 0
    paths = {row["path"] for row in api("/v1/costs", "payments", filter=everything).json()["rows"]}
    assert paths == {"cross_az"}
