"""The OpenAPI document says what the routes do."""

import msgspec
from msgspec.structs import fields
from scripts import reference

from flowcost import errors
from flowcost.views import problems
from flowcost.views.api import openapi
from flowcost.views.api.table import endpoints


def test_every_endpoint_is_described_once(api):
    document = api("/openapi.json", who=None).json()
    assert document == msgspec.json.decode(msgspec.json.encode(openapi.document()))
    operations = [
        (path, method, operation["operationId"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    table = [(e.path, e.method.lower(), e.operation) for e in endpoints()]
    assert sorted(operations) == sorted(table)
    assert len({operation for *_, operation in operations}) == len(operations)


def test_every_parameter_and_field_has_a_sentence():
    document = openapi.document()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"].endswith("."), path
            for parameter in operation["parameters"]:
                assert parameter["description"], (path, parameter["name"])
    for endpoint in endpoints():
        assert endpoint.gives.__doc__
        for field in fields(endpoint.takes):
            assert field.encode_name


def test_other_methods_and_addresses_are_problems(api):
    assert api("/v1/nothing").json()["type"].endswith("#not-found")
    answer = api("/v1/costs", method="DELETE")
    assert (answer.status_code, answer.json()["status"]) == (405, 405)
    assert "GET" in answer.headers["allow"]


def test_every_problem_has_its_line_in_the_reference():
    page = (reference.FOLDER / "errors.md").read_text()
    for error in (*problems.STATUS, errors.InternalError):
        assert f'<a id="{error.code}"></a>' in page, error
