"""Every endpoint: who may not, does not; whose tenant is another, sees nothing."""

import pytest

from flowcost.access.principal import Role
from flowcost.views.api.table import endpoints

# What another tenant, or a scope without data, must never be told.
SECRETS = (
    "cart",
    "checkout",
    "storefront",
    "payments",
    "111111111111",
    "use1-az2",
    "use1-az4",
    "i-replica",
)
LESSER = {Role.EDITOR: "viewer", Role.ADMIN: "editor"}
# Names that stand for something in the path of an endpoint.
PLACES = {"id": "000000000000"}


def ids(endpoint):
    return f"{endpoint.method} {endpoint.path}"


@pytest.mark.parametrize("endpoint", endpoints(), ids=ids)
class TestEveryEndpoint:
    def test_without_credentials_is_401(self, endpoint, api):
        answer = api(place(endpoint), who=None, method=endpoint.method)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"

    def test_with_wrong_credentials_is_401(self, endpoint, api):
        assert api(place(endpoint), who="nobody", method=endpoint.method).status_code == 401

    def test_with_too_little_right_is_403(self, endpoint, api):
        if endpoint.anybody:
            pytest.skip("is for everybody who says who they are")
        others = ["agents"] if endpoint.role else ["viewer", "admin"]
        if endpoint.role in LESSER:
            others.append(LESSER[endpoint.role])
        for who in others:
            answer = api(place(endpoint), who, method=endpoint.method)
            assert answer.status_code == 403, who
            assert answer.json()["status"] == 403

    def test_tells_nothing_of_another_tenant_or_scope(self, endpoint, api):
        if endpoint.method != "GET" or endpoint.role is None:
            pytest.skip("changes things; its own test says of whose")
        for who in ("stranger", "nowhere"):
            answer = api(place(endpoint), who)
            assert answer.status_code in (200, 404), answer.text
            for secret in SECRETS:
                assert secret not in answer.text


def place(endpoint):
    return endpoint.path.format(**PLACES)
