"""The lab's cgroups: one subtree per run and node, path shapes as the runtimes make them.

Cgroups are the only thing of the lab with a name outside the process: the run's directory is
called after the process id and its start time, so a run that was killed is told from one that
lives, and nothing is removed that the lab did not make.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from flowcost.agent import host
from flowcost.errors import NotPermittedError, NotSupportedError
from flowcost.lab.plan import Pod

_RUN = re.compile(r"flowcost-lab-(\d+)-(\d+)-(\d+)")


def mount_point() -> Path:
    """Return where cgroup v2 is mounted.

    Raises:
        NotSupportedError: it is not.
    """
    root, _ = host.cgroup_root(host.mounts())
    if root is None:
        raise NotSupportedError(
            "cgroup v2 is not mounted", hint="mount -t cgroup2 none /sys/fs/cgroup/unified"
        )
    return root


def start_time(pid: int) -> int | None:
    """Return the start time of a process in clock ticks (proc(5), field 22), None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[19])


def run_directory(serial: int) -> Path:
    """Make and return the directory of the `serial`-th run of this process.

    Raises:
        NotPermittedError: the cgroup file system cannot be written.
    """
    pid = os.getpid()
    path = mount_point() / f"flowcost-lab-{pid}-{start_time(pid)}-{serial}"
    try:
        path.mkdir()
    except OSError as error:
        raise NotPermittedError(
            f"{path}: {error.strerror}", hint="The lab makes cgroups: run it as root."
        ) from error
    return path


def pod_directory(node_root: Path, pod: Pod) -> Path:
    """Return the cgroup directory of a pod's container, in the shape of `pod.runtime`."""
    uid, container = pod.uid, pod.container_id
    escaped = uid.replace("-", "_")
    slices = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{escaped}.slice"
    shapes = {
        "containerd-systemd": f"{slices}/cri-containerd-{container}.scope",
        "containerd-cgroupfs": f"kubepods/burstable/pod{uid}/{container}",
        "crio-systemd": f"{slices}/crio-{container}.scope/container",
        "docker-cgroupfs": f"kubepods/besteffort/pod{uid}/{container}",
        "kind": (
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
            f"kubelet-kubepods-burstable-pod{escaped}.slice/cri-containerd-{container}.scope"
        ),
    }
    return node_root / shapes[pod.runtime]


def remove(directory: Path, *, patience_s: float = 5.0) -> None:
    """End every process in our own `directory` and remove it with everything below."""
    deadline = time.monotonic() + patience_s
    while directory.exists():
        for path, _, _ in os.walk(directory, topdown=False):
            for line in _processes(Path(path)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line), 9)
            with contextlib.suppress(OSError):
                Path(path).rmdir()
        if time.monotonic() > deadline:
            raise NotPermittedError(
                f"{directory}: not empty after {patience_s} s",
                hint="A process in it does not end; see cgroup.procs there.",
            )
        if directory.exists():
            time.sleep(0.005)


def _processes(directory: Path) -> list[str]:
    try:
        return (directory / "cgroup.procs").read_text().split()
    except OSError:
        return []


def sweep() -> list[str]:
    """Remove what runs that no longer live left behind; return the names removed."""
    removed = []
    for path in sorted(mount_point().glob("flowcost-lab-*")):
        found = _RUN.fullmatch(path.name)
        if found and start_time(int(found[1])) != int(found[2]):
            remove(path)
            removed.append(path.name)
    return removed
