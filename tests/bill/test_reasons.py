"""Every reason has a next step and stands in the document."""

from pathlib import Path

import pytest

from flowcost.bill.residuals import CELL_REASONS, LINE_REASONS

PAGE = Path(__file__).parents[2] / "docs" / "reconcile.md"


@pytest.mark.parametrize("reason", [*LINE_REASONS, *CELL_REASONS])
def test_every_reason_is_documented(reason):
    assert f"`{reason}`" in PAGE.read_text()
