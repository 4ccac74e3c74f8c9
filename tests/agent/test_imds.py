import json

import pytest

from flowcost.agent.imds import Place, place
from flowcost.errors import UnreachableError

META = "/latest/meta-data"
MAC = "0e:49:61:0f:c3:11"
ANSWERS = {
    "/latest/dynamic/instance-identity/document": json.dumps(
        {
            "accountId": "111122223333",
            "region": "us-east-1",
            "availabilityZone": "us-east-1a",
            "instanceId": "i-0abc",
        }
    ),
    f"{META}/mac": MAC,
    f"{META}/placement/availability-zone-id": "use1-az4",
    f"{META}/network/interfaces/macs/{MAC}/vpc-id": "vpc-1",
    f"{META}/network/interfaces/macs/{MAC}/subnet-id": "subnet-1",
}


def version_2(method, path, headers):
    if method == "PUT":
        known = path == "/latest/api/token" and headers["X-aws-ec2-metadata-token-ttl-seconds"]
        return (200, b"secret") if known else (400, b"")
    if headers.get("X-aws-ec2-metadata-token") != "secret":
        return 401, b""
    return (200, ANSWERS[path].encode()) if path in ANSWERS else (404, b"")


def only_version_1(method, path, headers):
    return (200, ANSWERS.get(path, "").encode()) if method == "GET" else (405, b"")


def test_the_place_of_the_node_is_read_with_a_session_token(serve):
    url, asked = serve(version_2)
    assert place(url) == Place(
        provider="aws",
        account="111122223333",
        region="us-east-1",
        zone_id="use1-az4",
        zone_name="us-east-1a",
        vpc="vpc-1",
        subnet="subnet-1",
        instance="i-0abc",
    )
    assert asked[0][:2] == ("PUT", "/latest/api/token")


def test_version_1_is_never_asked(serve):
    url, asked = serve(only_version_1)
    with pytest.raises(UnreachableError, match="PUT /latest/api/token answered 405"):
        place(url)
    assert [method for method, _, _ in asked] == ["PUT"]


def test_a_node_without_metadata_is_told_which_options_replace_it():
    with pytest.raises(UnreachableError) as refused:
        place("http://127.0.0.1:1", timeout_s=0.5)
    assert "--region" in refused.value.hint
