"""Bad input ends in one clear error that names file, row and field; no ledger is touched."""

import shutil

import pytest

from flowcost.errors import FlowcostError, InventoryError, SourceError
from flowcost.pipeline import scenario

GOOD = scenario.FOLDER / "cart-checkout"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(GOOD, tmp_path / "case")


def edit(folder, name, old, new):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1073741824", "-1", r"flows\.csv: row 2: bytes: -1 is out of range"),
        ("1073741824", "1.5", r"flows\.csv: row 2: bytes"),
        ("1073741824", str(1 << 63), r"flows\.csv: row 2: bytes: .* is out of range"),
        ("2026-11-02T10:00:00Z", "1970-01-01T00:00:00Z", r"row 2: window_start: .* out of range"),
        ("2026-11-02T10:00:00Z", "yesterday", r"row 2: window_start"),
        ("2026-11-02T10:10:00Z", "2026-11-02T09:00:00Z", r"row 2: window_end: not after"),
        ("2026-11-02T10:10:00Z", "2026-11-02T11:10:00Z", r"row 2: window_end: .* straddles"),
        ("10.2.0.20", "checkout", r"row 2: remote_address: 'checkout' is not an IP address"),
        ("transmit", "sideways", r"row 2: direction: 'sideways' is not one of"),
        (",bytes,", ",octets,", r"flows\.csv: missing column bytes"),
        (",packets", ",pakets", r"flows\.csv: unknown column pakets"),
    ],
)
def test_a_bad_flow_names_file_row_and_field(folder, old, new, message):
    edit(folder, "flows.csv", old, new)
    with pytest.raises(SourceError, match=message):
        scenario.load(folder)


@pytest.mark.parametrize("name", ["scenario.toml", "flows.csv", "declared.toml"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FlowcostError, match=name.replace(".", r"\.")):
        scenario.load(folder)


def test_an_unknown_key_of_a_scenario_is_named(folder):
    edit(folder, "scenario.toml", "title =", "titel =")
    with pytest.raises(SourceError, match=r"scenario\.toml.*titel"):
        scenario.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('cidr = "10.0.0.0/8"', 'cidr = "10.0.0.1/8"', "host bits"),
        ('cidr = "10.0.0.0/8"', 'cidr = "10.0.0.0/99"', r"10\.0\.0\.0/99"),
        ("cloud.region", "cloud.regoin", "regoin"),
        ('"use1-az1"', '""', "availability_zone"),
    ],
)
def test_a_bad_declaration_names_what_is_wrong(folder, old, new, message):
    edit(folder, "declared.toml", old, new)
    with pytest.raises(InventoryError, match=message):
        scenario.load(folder)
