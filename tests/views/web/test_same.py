"""The same question elsewhere gives the same rows: file, command line, SQL."""

import html
import re
import shlex

import duckdb
import pytest
from click.testing import CliRunner

from flowcost.cli import main
from flowcost.ledger.query import Selection, costs
from flowcost.ledger.statement import statement
from tests.views.web.serving import console, visitor

ASKED = [
    "/?v=1&by=path&last=all",
    "/?v=1&by=owner.team,conversation&filter=path+=+cross_az&last=all",
    "/?v=1&by=hour,rate&last=all&legs=observed&sort=hour",
    "/?v=1&by=remote.address&last=all&measure=bytes&attribute_by=source",
    "/?v=1&by=owner,rule&filter=not+(owner+~+pay*+or+path+in+(unknown,+same_zone))&last=all",
]


@pytest.fixture(scope="module")
def client(shop):
    return visitor(console(shop))


def copied(client, address, name):
    text = client.get(address).text
    return html.unescape(re.search(rf'<pre id="copy-{name}"[^>]*>(.*?)</pre>', text, re.DOTALL)[1])


@pytest.mark.parametrize("address", ASKED)
def test_the_file_is_what_the_command_line_prints(client, shop, address):
    words = shlex.split(copied(client, address, "cli"))
    assert words[:2] == ["flowcost", "costs"]
    printed = CliRunner().invoke(main, [*words[1:], "--ledger", str(shop.root)])
    assert printed.exit_code == 0, printed.output
    assert client.get(address.replace("/?", "/costs.csv?")).text == printed.stdout
    assert printed.stdout.count("\n") > 1


@pytest.mark.parametrize("address", ASKED)
def test_the_sql_gives_the_same_rows_without_flowcost(client, shop, address, monkeypatch):
    monkeypatch.chdir(shop.root)
    with duckdb.connect() as con:
        rows = con.execute(copied(client, address, "sql")).fetchall()
    answer = client.get(address.replace("/?", "/costs.json?")).json()
    assert sorted(int(row[-3]) for row in rows) == sorted(row["bytes"] for row in answer)
    assert len(rows) == len(answer) > 0


def test_a_statement_adds_up_exactly_and_holds_no_value_of_the_asker(shop, monkeypatch):
    evil = "x' OR 1=1 --"
    selection = Selection(where=f'owner.team != "{evil}"', tenant="t1")
    monkeypatch.chdir(shop.root)
    with duckdb.connect() as con:
        rows = con.execute(statement(selection, by=("path", "rule"))).fetchall()
    found = [(*row[:2], *map(int, row[2:])) for row in rows]
    assert sorted(found) == sorted(costs(shop, selection, by=("path", "rule")).rows)


def test_a_parquet_file_is_one(client, tmp_path):
    file = tmp_path / "c.parquet"
    file.write_bytes(client.get("/costs.parquet?v=1&by=path&last=all").content)
    with duckdb.connect() as con:
        assert con.execute(f"SELECT count(*) FROM '{file}'").fetchall()[0][0] == 4


def test_an_unknown_format_is_not_there(client):
    assert client.get("/costs.exe?v=1").status_code == 404


def test_a_shared_link_has_its_interval_written_out(client):
    text = client.get("/?v=1&by=path").text
    link = re.search(r'<a href="([^"]+)" data-copy-href', text)[1].replace("&amp;", "&")
    assert link == "/?v=1&by=path&from=2026-10-27T01Z&to=2026-11-03T01Z"
    assert client.get(link).status_code == 200
