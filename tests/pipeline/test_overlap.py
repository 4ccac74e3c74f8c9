"""Overlapping flow logs of one interface: the one that tells most is booked (C2.8, law 4)."""

import pytest
from tests.pipeline.test_run import START, WORLD, ask, digest, go

from flowcost.pipeline.resolved import resolved
from flowcost.resolve import inventory, timeline

FULL = (
    "interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr bytes start end action log-status"
    " flow-direction instance-id"
)
PLAIN = "interface-id srcaddr dstaddr bytes start end action log-status flow-direction instance-id"
FINER = f"{PLAIN} az-id"


@pytest.fixture(scope="module")
def resolution(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "declared.toml"
    path.write_text(WORLD)
    return resolved(timeline.build(inventory.read(path)))


def log(folder, flow_log, fields, *sizes, start=START):
    """Write one file of a flow log with a row per size."""
    row = {
        "interface-id": "eni-a", "srcaddr": "10.0.1.5", "dstaddr": "10.0.9.9",
        "pkt-srcaddr": "10.0.1.6", "pkt-dstaddr": "10.0.9.9", "action": "ACCEPT",
        "log-status": "OK", "flow-direction": "egress", "instance-id": "i-1", "az-id": "use1-az1",
        "start": start, "end": start + 59,
    }  # fmt: skip
    lines = [" ".join(str({**row, "bytes": size}[name]) for name in fields.split())
             for size in sizes]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    name = f"111111111111_vpcflowlogs_us-east-1_{flow_log}_20261102T1000Z_{len(sizes)}{start}.log"
    (folder / name).write_text("\n".join([fields, *lines, ""]))


def booked(root):
    return ask(root, "SELECT source, sum(bytes)::BIGINT FROM charges GROUP BY ALL ORDER BY ALL")


@pytest.mark.parametrize(
    ("logs", "chosen", "surplus"),
    [
        # The packet's addresses come first: behind a primary address nobody is anybody.
        ({"fl-1": (PLAIN, 1000, 5), "fl-2": (FULL, 1000)}, [("fl-2", 1000)], 1005),
        ({"fl-1": (FULL, 1000), "fl-2": (FINER, 1005)}, [("fl-1", 1000)], 1005),
        # Then more of the fields that flows are made of.
        ({"fl-1": (PLAIN, 1005), "fl-2": (FINER, 1000)}, [("fl-2", 1000)], 1005),
        # Then most bytes, then the smaller id.
        ({"fl-1": (PLAIN, 1000), "fl-2": (PLAIN, 1005)}, [("fl-2", 1005)], 1000),
        ({"fl-1": (PLAIN, 1000), "fl-2": (PLAIN, 1000)}, [("fl-1", 1000)], 1000),
    ],
)
def test_one_flow_log_is_booked(tmp_path, resolution, logs, chosen, surplus):
    for name, (fields, *sizes) in logs.items():
        log(tmp_path / "logs", name, fields, *sizes)
    ran = go(tmp_path / "logs", resolution, tmp_path / "ledger")
    assert booked(tmp_path / "ledger") == chosen
    assert dict(ran.cross_checked)["flow_log"] == surplus
    assert "flow-log-overlap" not in {finding.code for finding in ran.findings}


def test_a_finer_log_that_saw_less_is_booked_and_says_so(tmp_path, resolution):
    log(tmp_path / "logs", "fl-1", PLAIN, 1000)
    log(tmp_path / "logs", "fl-2", FULL, 400)
    ran = go(tmp_path / "logs", resolution, tmp_path / "ledger")
    assert booked(tmp_path / "ledger") == [("fl-2", 400)]
    [less] = [finding for finding in ran.findings if finding.code == "flow-log-overlap"]
    assert (less.count, less.bytes, less.sample) == (1, 600, "eni-a")


def test_each_hour_chooses_for_itself_and_batches_change_nothing(tmp_path, resolution):
    for hour, (first, second) in enumerate([(PLAIN, FULL), (FULL, PLAIN), (PLAIN, PLAIN)]):
        at = START + 3600 * hour
        log(tmp_path / "logs", f"fl-{hour}a", first, 1000, start=at)
        log(tmp_path / "logs", f"fl-{hour}b", second, 1000, start=at)
    go(tmp_path / "logs", resolution, tmp_path / "one")
    assert booked(tmp_path / "one") == [("fl-0b", 1000), ("fl-1a", 1000), ("fl-2a", 1000)]
    for path in sorted((tmp_path / "logs").iterdir(), reverse=True):
        part = tmp_path / "part"
        part.mkdir(exist_ok=True)
        path.rename(part / path.name)
        go(part, resolution, tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
