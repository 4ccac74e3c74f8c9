"""Clusters and VPCs with one address plan: every flow's ends are those of where it was seen."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pipeline.worlds import flow_table

from flowcost.address import network, pack
from flowcost.ledger import Ledger
from flowcost.model import GatewayKind, Identity
from flowcost.pipeline.columns import columns_of
from flowcost.pipeline.gather import gather
from flowcost.pipeline.observe import meet, observe
from flowcost.pipeline.parting import part
from flowcost.pipeline.pieces import related
from flowcost.pipeline.resolved import resolved
from flowcost.pipeline.run import run
from flowcost.pipeline.work import Settings
from flowcost.pipeline.world import World
from flowcost.price import list_book
from flowcost.resolve import Claim, Gateway, Layer, NetworkInterface, inventory, timeline
from flowcost.resolve.lookup import lookup
from flowcost.resolve.plans import plans_of
from flowcost.sources import discover
from flowcost.sources.kernel import Options

START = datetime(2026, 11, 20, 10, tzinfo=UTC)
ADDRESSES = [f"10.244.1.{n}" for n in range(4)] + ["192.0.2.1"]

# Who sees: (what the flow says of it, where it stands).
OBSERVERS = [
    ({"vpc_id": "vpc-a"}, {"vpc": "vpc-a"}),
    ({"subnet_id": "subnet-b"}, {"vpc": "vpc-b"}),
    ({"observer": "eni-a", "local_uid": "eni-a"}, {"vpc": "vpc-a"}),
    ({"observer": "eni-b", "local_uid": "eni-b", "vpc_id": "vpc-b"}, {"vpc": "vpc-b"}),
    ({"observer": "eni-x", "local_uid": "eni-x"}, {}),
    ({"observer_type": "gateway", "via": "nat-b"}, {"vpc": "vpc-b"}),
    ({"observer_type": "node_agent", "cluster": "blue"}, {"cluster": "blue"}),
    (
        {"observer_type": "node_agent", "cluster": "green", "vpc_id": "vpc-b"},
        {"cluster": "green", "vpc": "vpc-b"},
    ),
    ({"observer_type": "node_agent", "cluster": "red"}, {}),
]


def claim(cidr: str, start: int = 0, end: int = 60, **attributes) -> Claim:
    first, last = network(cidr)
    return Claim(
        first=first,
        last=last,
        identity=Identity(**attributes),
        valid_from=START + timedelta(minutes=start),
        valid_to=START + timedelta(minutes=end),
    )


PLACES = Layer(
    source="interfaces",
    claims=(claim("10.9.0.0/24", cloud_vpc_id="vpc-b", cloud_subnet_id="subnet-b"),),
    interfaces=(
        NetworkInterface(id="eni-a", vpc="vpc-a"),
        NetworkInterface(id="eni-b", vpc="vpc-b"),
    ),
    gateways=(
        Gateway(
            kind=GatewayKind.NAT_GATEWAY,
            identity=Identity(cloud_resource_id="nat-b", cloud_vpc_id="vpc-b"),
        ),
    ),
)

CLAIMS = st.builds(
    claim,
    st.sampled_from([*ADDRESSES[:4], "10.244.1.0/30", "10.244.0.0/16"]),
    st.sampled_from([0, 0, 20]),
    st.sampled_from([60, 60, 40]),
    cloud_vpc_id=st.sampled_from(["", "vpc-a", "vpc-b", "vpc-c"]),
    k8s_cluster_name=st.sampled_from(["", "blue", "green"]),
    k8s_pod_name=st.sampled_from(["", "x", "y", "z"]),
)
LAYERS = st.lists(
    st.builds(
        Layer,
        source=st.sampled_from(["kubernetes", "declared", "subnets"]),
        claims=st.lists(CLAIMS, min_size=1, max_size=5).map(tuple),
    ),
    min_size=1,
    max_size=4,
)
FLOWS = st.lists(
    st.tuples(
        st.sampled_from(OBSERVERS),
        st.sampled_from(ADDRESSES),
        st.sampled_from(ADDRESSES),
        st.integers(0, 59),
    ),
    min_size=1,
    max_size=24,
)
WHO = """
SELECT m.bytes, x.party, y.party
FROM met m
JOIN (SELECT near, slot, address FROM nears) a USING (near)
JOIN (SELECT far, slot, address FROM fars) b USING (far)
JOIN ends x ON x.slot = a.slot AND x.address = a.address
JOIN ends y ON y.slot = b.slot AND y.address = b.address
"""


def observed(con, resolution, seen) -> World:
    """Bring flows, seen as in `FLOWS`, as far as who was at their ends."""
    rows = [
        {
            "observer_type": "interface",
            "window_start": (START + timedelta(minutes=minute)).replace(tzinfo=None),
            "direction": "transmit",
            "local_address": local,
            "remote_address": remote,
            "bytes": 1 << number,  # so that a sum tells whose it is
            **words,
        }
        for number, ((words, _), local, remote, minute) in enumerate(seen)
    ]
    con.register("flows", flow_table(rows))
    world = World(con, columns_of(resolution))
    rows, gathered = gather(con, related(con, "flows"))
    rows, gathered = part(con, world, gathered, rows)
    rows, nears, fars = meet(gathered, rows)
    met = observe(con, world, gathered, nears, fars)
    con.register("met", rows)
    for name, ends in (("near", met.nears), ("far", met.fars)):
        con.register(f"{name}s", ends.append_column(name, pa.array(range(len(ends)), pa.int32())))
    return world


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LAYERS, FLOWS)
def test_random_sightings_resolve_as_the_lookup_says(layers, seen):
    resolution = timeline.build([*layers, PLACES])
    with duckdb.connect() as con:
        world = observed(con, resolution, seen)
        found = {}
        for size, near, far in con.execute(WHO).fetchall():
            for number in range(len(seen)):
                if size >> number & 1:
                    found[number] = world.identities([near, far])
    assert len(found) == len(seen)
    for number, ((_, stands), local, remote, minute) in enumerate(seen):
        at, plans = START + timedelta(minutes=minute), plans_of(**stands)
        for answer, address in zip(found[number], (local, remote), strict=True):
            assert answer == lookup(resolution, pack(address), at, plans)


def test_an_end_that_nobody_names_is_one_end_to_all_sensors_of_its_vpc():
    """An agent knows its cluster, a flow log does not; what they see of a machine is one machine.

    Otherwise the agent's sight of it would imply a leg that the machine's own log has booked.
    """
    layers = [
        Layer(
            source="subnets",
            claims=tuple(claim("10.244.1.0/30", cloud_vpc_id=f"vpc-{vpc}") for vpc in "ab"),
        ),
        Layer(
            source="kubernetes",
            claims=tuple(
                claim("10.244.1.2", 40, 60, k8s_cluster_name=name, k8s_pod_name=name)
                for name in ("blue", "green")
            ),
        ),
    ]
    agent = {"observer_type": "node_agent", "cluster": "blue", "vpc_id": "vpc-a"}
    seen = [
        ((agent, {}), "10.244.1.1", "10.244.1.2", 5),
        (({"vpc_id": "vpc-a"}, {}), "10.244.1.2", "10.244.1.1", 5),
        (({"vpc_id": "vpc-b"}, {}), "10.244.1.2", "10.244.1.1", 5),
    ]
    with duckdb.connect() as con:
        observed(con, timeline.build([*layers, PLACES]), seen)
        found = con.execute(
            "SELECT n.station, f.station FROM met m JOIN nears n USING (near)"
            " JOIN fars f USING (far) ORDER BY m.bytes"
        ).fetchall()
    (agents, met_by_agent), (own, met_back), (other, _) = found
    assert (met_by_agent, met_back) == (own, agents)
    assert other != own


# Two VPCs of one address plan, as the AWS CLI prints them.

LOG_START = int(START.timestamp())


def account(tmp_path) -> None:
    """Write an inventory in which vpc-a and vpc-b both are 10.0.0.0/16 with two machines."""
    home = tmp_path / "inventory" / "aws" / "111111111111" / "us-east-1"
    home.mkdir(parents=True)

    def put(name: str, **document) -> None:
        (home / f"{name}.json").write_text(json.dumps(document))

    put(
        "describe-vpcs",
        Vpcs=[{"VpcId": f"vpc-{vpc}", "CidrBlock": "10.0.0.0/16"} for vpc in "ab"],
    )
    put(
        "describe-subnets",
        Subnets=[
            {
                "SubnetId": f"subnet-{vpc}{n}",
                "VpcId": f"vpc-{vpc}",
                "AvailabilityZoneId": zone,
                "CidrBlock": f"10.0.{n}.0/24",
            }
            for vpc, zones in (("a", ("use1-az1", "use1-az2")), ("b", ("use1-az1", "use1-az1")))
            for n, zone in enumerate(zones, 1)
        ],
    )
    put(
        "describe-network-interfaces",
        NetworkInterfaces=[
            {
                "NetworkInterfaceId": f"eni-{vpc}{n}",
                "SubnetId": f"subnet-{vpc}{n}",
                "VpcId": f"vpc-{vpc}",
                "OwnerId": "111111111111",
                "Attachment": {"InstanceId": f"i-{vpc}{n}"},
                "PrivateIpAddress": f"10.0.{n}.5",
            }
            for vpc in "ab"
            for n in (1, 2)
        ],
    )


def rows(vpc: str, size: int) -> list[str]:
    """Return 10.0.1.5 sending to 10.0.2.5, as both interfaces log it; only vpc-a's log says so."""
    when, told = f"{LOG_START} {LOG_START + 60}", "vpc-a" if vpc == "a" else "-"
    return [
        f"eni-{vpc}{n} 10.0.1.5 10.0.2.5 40000 443 6 10 {size} {when} ACCEPT OK {way} {told}"
        for n, way in ((1, "egress"), (2, "ingress"))
    ]


HEADER = (
    "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action"
    " log-status flow-direction vpc-id"
)


def test_two_vpcs_of_one_plan_book_each_conversation_to_its_own_machines(tmp_path):
    account(tmp_path)
    (tmp_path / "logs").mkdir()
    lines = [HEADER, *rows("a", 1_000_000), *rows("b", 3_000)]
    (tmp_path / "logs" / "a.log").write_text("\n".join((*lines, "")))
    ledger = Ledger.open(tmp_path / "ledger", create=True)
    ran = run(
        discover.unique(discover.local(tmp_path / "logs"))[0],
        resolved(timeline.build(inventory.read(tmp_path / "inventory"))),
        list_book(),
        ledger,
        Settings(options=Options(tenant="t")),
    )
    assert {f.code for f in ran.findings} & {"contradicting-identities"} == set()
    with duckdb.connect() as con:
        ledger.attach(con)
        found = con.execute(
            "SELECT l.cloud_vpc_id, l.cloud_resource_id, r.cloud_resource_id, c.direction, c.path,"
            " sum(c.bytes), sum(c.list_cost) > 0 FROM charges c"
            " JOIN identities l ON l.identity_id = c.local_id"
            " JOIN identities r ON r.identity_id = c.remote_id GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    assert found == [
        ("vpc-a", "i-a1", "i-a2", "transmit", "cross_az", 1_000_000, True),
        ("vpc-a", "i-a2", "i-a1", "receive", "cross_az", 1_000_000, True),
        ("vpc-b", "i-b1", "i-b2", "transmit", "same_zone", 3_000, False),
        ("vpc-b", "i-b2", "i-b1", "receive", "same_zone", 3_000, False),
    ]
