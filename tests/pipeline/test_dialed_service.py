"""A crossing belongs to the Service that was dialed, at both its ends."""

import shutil

import duckdb
import pytest

from flowcost.pipeline import scenario

GOOD = scenario.FOLDER / "cart-checkout"
DIRECT = (
    "2026-11-02T10:20:00Z,2026-11-02T10:30:00Z,node-a,transmit,10.1.0.10,40001,10.2.0.20,8080,"
    ",,local,1024,1\n"
)


def services(folder):
    with scenario.run(scenario.load(folder)) as outcome, duckdb.connect() as con:
        outcome.ledger.attach(con)
        return dict(
            con.execute(
                "SELECT direction, max(dialed_service) FROM charges"
                " WHERE provenance = 'observed' GROUP BY 1"
            ).fetchall()
        )


def test_both_legs_carry_the_dialed_service_though_the_backend_never_saw_it():
    assert services(GOOD) == {"transmit": "shop/checkout", "receive": "shop/checkout"}


def test_where_one_end_also_talked_directly_the_answers_belong_to_no_service(tmp_path):
    folder = shutil.copytree(GOOD, tmp_path / "case")
    with (folder / "flows.csv").open("a") as flows:
        flows.write(DIRECT)
    assert services(folder) == {"transmit": "shop/checkout", "receive": ""}


@pytest.mark.parametrize("hour", ["09", "11"])
def test_another_hour_says_nothing(tmp_path, hour):
    folder = shutil.copytree(GOOD, tmp_path / "case")
    text = (folder / "flows.csv").read_text()
    head, sent, received = text.strip().splitlines()
    moved = sent.replace("T10:", f"T{hour}:")
    (folder / "flows.csv").write_text("\n".join((head, moved, received, "")))
    assert services(folder)["receive"] == ""
