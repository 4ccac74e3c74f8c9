"""From a pod to the workload that owns it: ReplicaSet to Deployment, Job to CronJob."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from flowcost.resolve.files import read_json
from flowcost.resolve.kubernetes_nodes import Meta

# A controller's controller is one step up; the files that tell it.
STEPS = {"ReplicaSet": "replicasets", "Job": "jobs"}
HASH_LABEL = "pod-template-hash"
_OF_CRONJOB = re.compile(r"-\d{8,}$")


class _Object(Struct):
    metadata: Meta


class _Objects(Struct):
    items: list[_Object]


class Owners:
    """The controllers of one cluster."""

    def __init__(self, directory: Path | None = None) -> None:
        """Read the owner files of a cluster's directory; those not dumped are not missed."""
        self._above: dict[tuple[str, str, str], tuple[str, str]] = {}
        for kind, resource in STEPS.items():
            read = read_json(directory / f"{resource}.json", _Objects) if directory else None
            for one in read.items if read else []:
                self.add(kind, one.metadata)

    def add(self, kind: str, meta: Meta) -> None:
        """Enter a controller, a ReplicaSet or a Job."""
        owner = controller(meta)
        self._above[kind, meta.namespace, meta.name] = owner or (kind, meta.name)

    def workload(self, pod: Meta) -> tuple[str, str]:
        """Return (kind, name) of the workload that owns a pod; a bare pod owns itself."""
        owner = controller(pod)
        if owner is None:
            return "Pod", pod.name
        above = self._above.get((owner[0], pod.namespace, owner[1]))
        return above or _named_after(owner, pod)


def controller(meta: Meta) -> tuple[str, str] | None:
    """Return the controlling owner, or the only one."""
    owners = meta.owner_references
    found = next((one for one in owners if one.controller), owners[0] if owners else None)
    return (found.kind, found.name) if found else None


def _named_after(owner: tuple[str, str], pod: Meta) -> tuple[str, str]:
    """Return the owner's owner by the names Kubernetes' controllers give, else the owner itself.

    A Deployment names its ReplicaSet after itself and the template's hash, which the pod carries
    as a label; a CronJob appends the scheduled minute.
    """
    kind, name = owner
    template = pod.labels.get(HASH_LABEL, "")
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return "Deployment", name.removesuffix(f"-{template}")
    if kind == "Job" and _OF_CRONJOB.search(name):
        return "CronJob", _OF_CRONJOB.sub("", name)
    return owner
