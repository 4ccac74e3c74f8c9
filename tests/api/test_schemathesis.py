"""What OpenAPI says is what the server does: schemathesis tries every operation."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS

from flowcost import segment
from flowcost.views.api import openapi
from flowcost.views.api.table import endpoints
from tests.api.bent import server
from tests.api.running import running

OF_AGENTS = {endpoint.operation for endpoint in endpoints() if endpoint.role is None}
# A filter is a language and a cursor is ours: no schema tells the good ones from the others.
CANNOT_SAY = (
    "positive_data_acceptance",
    # It leaves our own header in place; `test_rights` asks every endpoint without one.
    "ignored_auth",
)


@schemathesis.serializer(segment.CONTENT_TYPE)
def as_bytes(ctx, value):
    """Send what was drawn as a segment's body; hardly any is one."""
    return value if isinstance(value, bytes) else str(value).encode()


described = schemathesis.openapi.from_dict(openapi.document())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Run a whole server behind real HTTP; return its URL and its askers."""
    with (
        server(tmp_path_factory.mktemp("server")) as (app, askers),
        running(app) as url,
    ):
        yield url, askers


@pytest.mark.slow
@described.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_does_as_it_is_described(case, place):
    operation = case.operation.definition.raw["operationId"]
    who = "t1 agents" if operation in OF_AGENTS else "t1 admin"
    url, askers = place
    [(name, value)] = askers[who]
    without = CHECKS.get_by_names(list(CANNOT_SAY))
    credentials = {name.decode(): value.decode()}
    case.call_and_validate(base_url=url, headers=credentials, excluded_checks=without)
