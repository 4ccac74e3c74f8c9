"""What the agent may do, what it needs, and what it says where that is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowcost.agent import bpf_syscall, host, probe
from flowcost.cli.doctor import command

from .wire import HERE

NEEDED = "CAP_BPF CAP_NET_ADMIN"


def confined(capabilities, *words):
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    dropped = ",".join(
        ["-all", *(f"+{c.removeprefix('CAP_').lower()}" for c in capabilities.split())]
    )
    return subprocess.run(
        ["setpriv", f"--bounding-set={dropped}", sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.lab
def test_two_capabilities_suffice_and_nothing_is_written_but_spool_and_pins(wire, bpffs, tmp_path):
    spool, pins = tmp_path / "spool", bpffs / "flowcost"
    done = confined(NEEDED, HERE / "confined.py", wire.cgroup, spool, pins)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"holds {NEEDED}"
    wrote = [Path(line.removeprefix("wrote ")) for line in lines if line.startswith("wrote")]
    assert wrote
    for path in wrote:
        assert path.is_relative_to(spool) or path.is_relative_to(pins), path
    assert {path.name for path in pins.iterdir()} > {"link_egress", "link_ingress"}


@pytest.mark.lab
@pytest.mark.parametrize("held", ["CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"])
def test_the_doctor_names_the_capability_that_is_missing(kernel, held):
    done = confined(held, "-m", "flowcost", "doctor")
    assert done.returncode == 3
    [line] = [line for line in done.stdout.splitlines() if line.startswith("capabilities")]
    lacking = {"CAP_BPF", "CAP_NET_ADMIN"} - {held}
    if held == "CAP_SYS_ADMIN":
        lacking = {"CAP_NET_ADMIN"}
    assert "missing" in line
    assert {word for word in line.split() if word.startswith("CAP_")} == lacking


@pytest.mark.lab
def test_the_doctor_finds_all_there_is(wire, bpffs):
    done = CliRunner().invoke(
        command, ["--cgroup", str(wire.cgroup), "--pins", str(bpffs / "flowcost")]
    )
    assert done.exit_code == 0, done.output
    assert "verified and attached for an instant" in done.output


def test_an_old_kernel_and_a_foreign_machine_are_named(monkeypatch):
    monkeypatch.setattr(host, "kernel", lambda: (5, 4))
    assert "needs kernel 5.8 or newer" in probe.missing(probe.checks())
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    assert "s390x" in probe.missing(probe.checks())


def test_a_refused_call_is_the_last_answer(monkeypatch):
    def refuse(*_, **__):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(bpf_syscall, "map_create", refuse)
    monkeypatch.setattr(host, "capabilities", lambda: {"CAP_BPF", "CAP_NET_ADMIN"})
    found = probe.checks()
    assert found[-1].name == "bpf"
    assert "Operation not permitted" in found[-1].words


MOUNTS = """\
22 1 0:20 / / rw - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - {root} cgroup rw
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw
32 30 0:28 / /sys/fs/cgroup/cpu rw - {other} cgroup rw,cpu
33 22 0:29 / /sys/fs/bpf rw - bpf bpf rw
34 22 0:30 / /with\\040space rw - bpf bpf rw
"""


def test_cgroup_layouts_are_told_apart():
    hybrid = host.mounts(MOUNTS.format(root="tmpfs", other="cgroup"))
    assert host.cgroup_root(hybrid) == (Path("/sys/fs/cgroup/unified"), True)
    pure = host.mounts("30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    assert host.cgroup_root(pure) == (Path("/sys/fs/cgroup"), False)
    assert host.cgroup_root([]) == (None, False)


def test_the_file_system_of_a_path_that_is_not_there_yet_is_its_parents():
    table = host.mounts(MOUNTS.format(root="tmpfs", other="cgroup"))
    assert host.filesystem(Path("/sys/fs/bpf/flowcost"), table) == "bpf"
    assert host.filesystem(Path("/with space/x"), table) == "bpf"
    assert host.filesystem(Path("/sys/fs/bpfother"), table) == "ext4"


def test_a_node_without_the_rights_is_told_so(tmp_path):
    if os.geteuid():
        pytest.skip("needs root to give rights up")
    done = confined("", "-m", "flowcost", "doctor", "--format", "json")
    assert done.returncode == 3
    assert '"missing"' in done.stdout
