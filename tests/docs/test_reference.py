"""The reference is the code itself: what has no line there is a failure here."""

from pathlib import Path

import pytest
from scripts import reference

PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_says_what_the_code_says(name):
    path = reference.FOLDER / name
    assert path.exists(), "run `make docs`"
    assert path.read_text() == PAGES[name], "run `make docs`"


def test_the_dashboard_to_import_is_the_one_the_code_builds():
    assert reference.DASHBOARD.read_text() == reference.files()[reference.DASHBOARD], "make docs"


def test_every_room_is_a_sentence():
    root = Path(reference.__file__).parents[1] / "src" / "flowcost"
    for room in sorted(path.parent for path in root.glob("*/__init__.py")):
        first = (room / "__init__.py").read_text().splitlines()[0]
        assert first.startswith('"""'), room.name
        assert first.rstrip('"').rstrip().endswith("."), room.name


def test_no_source_file_is_longer_than_five_hundred_lines():
    root = Path(reference.__file__).parents[1] / "src" / "flowcost"
    lengths = sorted(len(path.read_text().splitlines()) for path in root.rglob("*.py"))
    assert lengths[-1] <= 500
    assert lengths[len(lengths) * 9 // 10] <= 300
