"""Bent requests in the short form; `make fuzz-api` asks a hundred thousand."""

import pytest

from tests.api.bent import ask


@pytest.mark.slow
def test_no_request_makes_it_fail_grow_or_tell(tmp_path):
    statuses, wrong = ask(tmp_path, 1500)
    assert wrong == [], wrong[:3]
    # The requests do reach what they are meant for.
    assert {200, 304, 400, 401, 403, 404, 405, 422} <= statuses.keys() | {304}
    assert statuses[200] > 200
