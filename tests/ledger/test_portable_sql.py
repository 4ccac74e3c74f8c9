"""The SQL of every key and filter also reads in the engines a ledger may outgrow this one to."""

import pytest
import sqlglot

from flowcost.ledger import condition, ends, keys
from flowcost.ledger.filter import parse
from flowcost.ledger.query import Selection, scanned

FILTER = "path in (cross_az, unknown) and not owner ~ kube-* or hour > 2026-11-02T10"


@pytest.mark.parametrize("dialect", ["clickhouse", "spark"])
@pytest.mark.parametrize("attribute_by", keys.ATTRIBUTE_BY)
def test_every_key_reads_in_another_engine(dialect, attribute_by):
    named = {*ends.LOCAL, "source.owner", "other.owner", "conversation", "rate", "rule", "month"}
    for key in (keys.find(name, attribute_by) for name in sorted(named)):
        scan = scanned(Selection(attribute_by=attribute_by), [key])
        statement = scan.sums(f"{key.sql}, {', '.join(scan.measures)}", "GROUP BY 1")
        (translated,) = sqlglot.transpile(statement, read="duckdb", write=dialect)
        assert sqlglot.parse_one(translated, read=dialect).find(sqlglot.exp.Group)


@pytest.mark.parametrize("dialect", ["clickhouse", "spark"])
def test_a_filter_reads_in_another_engine(dialect):
    where, bound = condition.sql(parse(FILTER))
    # Each engine spells a placeholder its own way; a literal stands in for it here.
    statement = f"SELECT 1 WHERE {where.replace('?', repr('x'))}"
    (translated,) = sqlglot.transpile(statement, read="duckdb", write=dialect)
    assert sqlglot.parse_one(translated, read=dialect)
    assert where.count("?") == len(bound) == 4
