import os
from pathlib import Path

import pytest

from flowcost.agent import probe
from flowcost.agent.capture import Capture, Settings
from flowcost.agent.spool import Spool

from . import wire as wires
from .ingest import ingest, token_file  # noqa: F401 - fixtures
from .serving import certificate, serve  # noqa: F401 - fixtures

SMALL = Settings(mtu=1500, flows=4096, cgroups=64, dns_bytes=1 << 16)


@pytest.fixture(scope="session")
def kernel():
    """Skip, with the probe's reason, where the kernel side cannot run."""
    if os.geteuid():
        pytest.skip("needs root")
    reason = probe.missing([c for c in probe.checks() if c.name != "pins"])
    if reason:
        pytest.skip(reason)


@pytest.fixture
def bpffs(kernel, tmp_path):
    point = tmp_path / "bpf"
    point.mkdir()
    try:
        wires.mount_bpffs(point)
    except OSError as error:
        pytest.skip(f"cannot mount a bpffs: {error}")
    yield point
    wires.unmount(point)


@pytest.fixture(scope="module")
def wire(kernel):
    with wires.Wire() as wire:
        yield wire


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def capture(wire, spool, bpffs):
    capture = Capture.attach(wire.cgroup, spool, pins=Path(bpffs) / "flowcost", settings=SMALL)
    yield capture
    capture.detach()
