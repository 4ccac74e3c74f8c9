"""The filter language: text, tree and SQL say the same thing."""

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcost.errors import FilterError
from flowcost.ledger import condition, keys
from flowcost.ledger.complete import complete
from flowcost.ledger.explain import explain
from flowcost.ledger.filter import And, Compare, In, Not, Or, parse, show, used
from flowcost.ledger.query import EVERYTHING, Selection, opened

TEXT_KEYS = ["path", "usage_type", "owner.team", "remote.name", "k8s.deployment.name", "initiator"]
VALUES = ["cross_az", "nat_gateway", "", "cart", "storefront", "(unattributed)", "it's", 'a"b\\c']
values = st.one_of(st.sampled_from(VALUES), st.text(max_size=12))
compares = st.builds(
    Compare,
    st.sampled_from(TEXT_KEYS),
    st.sampled_from(["=", "!=", "~", "!~", ">", "<=", ">=", "<"]),
    values,
)
globs = st.builds(
    Compare,
    st.sampled_from(TEXT_KEYS),
    st.sampled_from(["~", "!~"]),
    st.text("*?_%acr\\", max_size=6),
)
members = st.builds(
    In, st.sampled_from(TEXT_KEYS), st.lists(values, min_size=1, max_size=3).map(tuple)
)
days = st.builds(
    Compare,
    st.just("day"),
    st.sampled_from(["=", ">", "<=", "!="]),
    st.sampled_from(["2026-11-02", "2026-11-03"]),
)


def _groups(inner):
    many = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, inner), st.builds(And, many), st.builds(Or, many))


trees = st.recursive(st.one_of(compares, globs, members, days), _groups, max_leaves=8)


@given(trees)
def test_printing_and_parsing_a_tree_gives_the_same_tree(tree):
    assert parse(show(tree)) == tree


@given(st.text(max_size=60))
def test_any_text_is_a_tree_or_an_error_that_points_into_it(text):
    try:
        tree, position = parse(text), 0
    except FilterError as error:
        tree, position = None, error.position
    assert parse(show(tree)) == tree
    assert 0 <= position <= len(text)


@pytest.fixture(scope="module")
def engine(shop):
    """Return an engine with the shop's charges and every key's value of every charge."""
    names = [*TEXT_KEYS, "day"]
    found = [keys.find(name) for name in names]
    sql = ", ".join(key.sql for key in found)
    with opened(shop, EVERYTHING) as con:
        rows = con.execute(f"SELECT {sql} FROM charges AS c {keys.joins(sql)}").fetchall()
        yield con, [dict(zip(names, row, strict=True)) for row in rows]


def holds(tree, row):
    """Evaluate a tree in plain Python."""
    match tree:
        case Compare(name, operator, value):
            return _compare(row[name], operator, keys.find(name).literal(operator, value)[0], value)
        case In(name, options):
            return any(row[name] == keys.find(name).literal("=", value)[0] for value in options)
        case Not(term):
            return not holds(term, row)
        case And(terms):
            return all(holds(term, row) for term in terms)
        case Or(terms):
            return any(holds(term, row) for term in terms)


def _compare(have, operator, want, pattern):
    if operator in ("~", "!~"):
        return _globbed(have, pattern) == (operator == "~")
    if isinstance(have, str):  # the engine orders text by its UTF-8 bytes
        have, want = have.encode(), want.encode("utf-8", "surrogatepass")
    return {
        "=": have == want,
        "!=": have != want,
        ">": have > want,
        ">=": have >= want,
        "<": have < want,
        "<=": have <= want,
    }[operator]


def _globbed(have, pattern):
    if not pattern:
        return not have
    if pattern[0] == "*":
        return any(_globbed(have[start:], pattern[1:]) for start in range(len(have) + 1))
    return bool(have) and pattern[0] in ("?", have[0]) and _globbed(have[1:], pattern[1:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tree=trees)
def test_the_sql_of_a_tree_selects_what_plain_python_selects(engine, tree):
    con, rows = engine
    where, bound = condition.sql(tree)
    assert "storefront" not in where
    joins = keys.joins(where)
    count = con.execute(f"SELECT count(*) FROM charges AS c {joins} WHERE {where}", bound)
    assert count.fetchall()[0][0] == sum(holds(tree, row) for row in rows)


def test_a_condition_holds_or_not_and_is_never_null(shop):
    everything = len(explain(shop, top=1000))
    for text in ("local.address=10.9.9.9", "remote.address=10.0.0.0/8", "hour > 2026-11-02T10"):
        one = explain(shop, Selection(where=text), top=1000)
        other = explain(shop, Selection(where=f"not {text}"), top=1000)
        assert len(one) + len(other) == everything


@pytest.mark.parametrize(
    ("text", "position", "message", "hint"),
    [
        ("pth=x", 0, "unknown key 'pth'", "did you mean path?"),
        ("path", 4, "expected an operator", "= !="),
        ("path=", 5, "expected a value", "quote"),
        ("path=a b", 7, "expected `and`, `or` or the end", ""),
        ("path='x", 5, "unclosed quote", ""),
        ("path=a and (owner=x", 19, "expected ')'", ""),
        ("path=and", 5, "is a keyword", "quote it"),
        ("hour=soon", 5, "'soon' is not a time like", ""),
        ("day=2026-13-01", 4, "is not a day like", ""),
        ("day~2026*", 4, "has no glob", ""),
        ("local.address>10.0.0.1", 14, "has no order", ""),
        ("local.address=10.0.0.1/8", 14, "has host bits set", ""),
        ("path in a", 8, "expected '('", ""),
        ("= x", 0, "expected a key", "write key=value"),
        ("path=a !b", 7, "unexpected '!'", ""),
        ("(" * 100, 65, "nested too deeply", ""),
    ],
)
def test_an_error_points_at_its_column_and_names_the_way_out(text, position, message, hint):
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert caught.value.position == position
    assert message in caught.value.message
    assert hint in caught.value.hint
    pointer = caught.value.message.splitlines()[-1]
    assert pointer == f"  {' ' * position}^"


def test_blank_is_everything():
    assert parse("  \n") is None
    assert show(None) == ""
    assert condition.sql(None) == ("TRUE", [])


def test_keys_are_known_by_either_spelling_and_kept_in_one():
    tree = parse("K8S_Namespace_Name=shop and owner.team not in (a, 'b c')")
    assert list(used(tree)) == ["k8s.namespace.name", "owner.team"]
    assert show(tree) == 'k8s.namespace.name = shop and not owner.team in (a, "b c")'


def test_no_text_of_the_user_becomes_sql():
    where, bound = condition.sql(parse("""path = "x'; DROP TABLE charges; --" """))
    assert "DROP" not in where
    assert bound == ["x'; DROP TABLE charges; --"]
    duckdb.execute("SELECT ?", bound)


def suggested(text, cursor=None):
    known = {"path": ["cross_az", "nat_gateway"], "owner": ["(unattributed)", "it's"]}
    found = complete(text, len(text) if cursor is None else cursor, lambda key: known.get(key, []))
    return [suggestion.text for suggestion in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "provider"),
        ("pa", "path"),
        ("path=cross_az and own", "owner"),
        ("not ", "path"),
        ("path ", "="),
        ("path=", "cross_az"),
        ("path=nat", "nat_gateway"),
        ("path ~ az", "cross_az"),
        ("owner = ", '"(unattributed)"'),
        ('owner = "it', '"it\'s"'),
        ("path in ", "("),
        ("path in (", "cross_az"),
        ("path in (cross_az", "cross_az"),
        ("path in (cross_az ", ","),
        ("path in (cross_az, n", "nat_gateway"),
        ("path=cross_az ", "and"),
        ("(path=cross_az o", "or"),
    ],
)
def test_completion_offers_what_may_stand_at_the_cursor(text, expected):
    assert expected in suggested(text)


def test_a_suggestion_replaces_the_word_under_the_cursor():
    text = "pat=x"
    (first, *_) = complete(text, 3, lambda key: [])
    assert text[: first.start] + first.text + text[first.end :] == "path=x"


@given(st.text(max_size=40), st.integers(0, 40))
def test_completion_never_fails(text, cursor):
    complete(text, min(cursor, len(text)), lambda key: ["a b"])
