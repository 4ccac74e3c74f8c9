"""What an inventory resolves to is kept beside the ledger, and is never anything else than true."""

import argparse
import os
import shutil
import time

import pytest
from benchmarks import gen_logs
from click.testing import CliRunner
from tests.pipeline.test_run import digest

from flowcost.cli import main
from flowcost.pipeline import kept
from flowcost.pipeline.resolved import resolved
from flowcost.resolve import inventory, timeline

ARGUMENTS = {
    "rows": 20_000, "pods": 600, "prefixes": 100, "conversations": 0, "hours": 2,
    "slot_minutes": 60, "seed": 11, "format": "parquet",
}  # fmt: skip
# Two clusters with one address plan, a Service, and ranges with a beginning.
DECLARED = """
[[network]]
cidr = "10.244.0.0/16"
k8s.cluster.name = "one"
[[network]]
cidr = "10.244.0.0/16"
k8s.cluster.name = "two"
[[network]]
cidr = "10.244.3.9"
k8s.cluster.name = "two"
k8s.pod.name = "p"
from = 2026-10-05T12:20:00Z
[[network]]
cidr = "172.20.0.0/16"
owner.team = "net"
from = 2026-10-05T12:40:00Z
[[service]]
address = "172.20.0.10"
name = "shop/cart"
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    out = tmp_path_factory.mktemp("generated") / "all"
    gen_logs.generate(out, argparse.Namespace(**ARGUMENTS))
    (out / "inventory" / "declared.toml").write_text(DECLARED)
    return out


@pytest.fixture
def place(generated, tmp_path):
    """Return a copy of the inventory."""
    return shutil.copytree(generated / "inventory", tmp_path / "inventory")


def said(found):
    """Return everything a run learns, as plain values."""
    columns = found.columns
    tables = {"identities": columns.identities, **columns.tables}
    rows = {name: table.to_pydict() for name, table in tables.items()}
    return rows, columns.words, columns.places, found.knowledge, found.interfaces, found.findings


def anew(path):
    """Return what an inventory says, without anything kept."""
    return said(resolved(timeline.build(inventory.load(path).layers)))


@pytest.fixture
def unread(monkeypatch):
    """Return a function after which no inventory can be read."""

    def forbid(_):
        raise AssertionError("the inventory was read")

    return lambda: monkeypatch.setattr(inventory, "load", forbid)


def test_an_unchanged_inventory_is_read_once(place, tmp_path, unread):
    expected = anew(place)
    tables = expected[0]
    assert all(tables[name]["valid_from"] for name in ("hosts", "plan_hosts", "services"))
    assert tables["plans"]["plan"]
    assert tables["changing"]["address"]
    assert expected[-1]
    assert said(kept.resolve(place, tmp_path / "kept")) == expected
    unread()
    assert said(kept.resolve(place, tmp_path / "kept")) == expected


def _grown(place):
    with (place / "declared.toml").open("a") as out:
        out.write('[[network]]\ncidr = "192.168.0.0/24"\nowner.team = "new"\n')


def _shrunk(place):
    next(place.glob("kubernetes/*/pods.json")).unlink()


def _moved(place):
    first = min(place.glob("kubernetes/*"))
    first.rename(first.with_name("renamed"))


def _linked(place):
    """Put a cluster somewhere else, and change it there."""
    cluster, there = min(place.glob("kubernetes/*")), place.parent / "elsewhere"
    cluster.rename(there)
    cluster.symlink_to(there)
    (there / "nodes.json").unlink()


def _strange(place):
    next(place.glob("aws/*/*")).joinpath("describe-nothing.json").write_text("{}")


def _published(place):
    (place / "ip-ranges.json").write_text(
        '{"createDate": "2026-09-01-00-00-00", "prefixes": [{"service": "S3",'
        ' "region": "us-east-1", "ip_prefix": "198.51.100.0/24"}]}'
    )


def _dated(place):
    shown = place.with_name("shown")
    place.rename(shown)
    place.mkdir()
    shown.rename(place / "2026-10-05T12:00:00Z")
    (place / "2026-10-05T13:00:00Z").mkdir()


CHANGES = (_grown, _shrunk, _moved, _linked, _strange, _published, _dated)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_inventory_is_read(place, tmp_path, change):
    before = said(kept.resolve(place, tmp_path / "kept"))
    change(place)
    expected = anew(place)
    assert expected != before
    assert said(kept.resolve(place, tmp_path / "kept")) == expected


def test_other_code_reads_for_itself(place, tmp_path, monkeypatch):
    kept.resolve(place, tmp_path / "kept")
    monkeypatch.setattr(kept.flowcost, "__version__", "999.0")
    kept._code.cache_clear()
    try:
        kept.resolve(place, tmp_path / "kept")
    finally:
        kept._code.cache_clear()
    assert len(list((tmp_path / "kept").iterdir())) == 2


def _flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)


def _cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_flip, _cut, _empty, os.unlink], ids=lambda d: d.__name__)
def test_what_is_damaged_is_made_anew(place, tmp_path, damage, unread):
    folder = tmp_path / "kept"
    expected = said(kept.resolve(place, folder))
    [held] = folder.iterdir()
    for name in ("identities.arrow", "hosts.arrow", "rest.msgpack"):
        damage(held / name)
        assert said(kept.resolve(place, folder)) == expected, name
    unread()
    assert said(kept.resolve(place, folder)) == expected
    assert list(folder.iterdir()) == [held]


def test_a_place_that_cannot_be_written_costs_time_only(place, tmp_path):
    (tmp_path / "kept").write_text("a file")
    assert said(kept.resolve(place, tmp_path / "kept")) == anew(place)


def test_the_inventories_used_last_are_kept(tmp_path, unread):
    folder = tmp_path / "kept"
    paths = [tmp_path / f"{number}.toml" for number in range(kept.KEPT + 2)]
    (folder / "partly-0123").mkdir(parents=True)  # of a run that was ended
    for path in paths:
        path.write_text(f'[[network]]\ncidr = "10.0.0.0/8"\nowner.team = "{path.stem}"\n')
        kept.resolve(path, folder)
        kept.resolve(paths[0], folder)
        time.sleep(0.01)  # times of use differ
    assert len(list(folder.iterdir())) == kept.KEPT
    unread()
    for path in (paths[0], *paths[-kept.KEPT + 1 :]):
        kept.resolve(path, folder)


def _run(generated, ledger, logs):
    words = ["--flow-logs", str(logs), "--inventory", str(generated / "inventory")]
    result = CliRunner().invoke(main, ["run", *words, "--ledger", str(ledger)])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_ledger_is_the_same_with_and_without(generated, tmp_path, unread):
    first = tmp_path / "first"
    for file in generated.glob("logs/**/*T1200Z*"):
        to = first / file.relative_to(generated)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, to)
    for name in ("without", "with"):
        _run(generated, tmp_path / name, first)
    shutil.rmtree(kept.folder_of(tmp_path / "without"))
    one = _run(generated, tmp_path / "without", generated / "logs")
    unread()
    other = _run(generated, tmp_path / "with", generated / "logs")
    assert one.replace(str(tmp_path / "without"), str(tmp_path / "with")) == other
    assert digest(tmp_path / "with") == digest(tmp_path / "without")
    assert len(digest(tmp_path / "with")) > 4
