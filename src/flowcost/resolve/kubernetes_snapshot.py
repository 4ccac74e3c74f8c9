"""Write the Kubernetes part of an inventory from a live cluster, with the operator's kubectl.

kubectl brings every way of signing in that the operator already uses. Only `get` is called. What
no cost needs and may hold secrets is left out of the files: environment, commands, annotations.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowcost.errors import NotPermittedError, NotSupportedError, UnreachableError
from flowcost.resolve.files import Written
from flowcost.resolve.kubernetes_resources import API_GROUPS, RESOURCES

_TIMEOUT_SECONDS = 600
_FORBIDDEN = "Forbidden"
_META_DROPPED = ("annotations", "managedFields")
_CONTAINER_DROPPED = ("env", "envFrom", "command", "args", "lifecycle")
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def cluster_role() -> str:
    """Return the smallest ClusterRole that lets a snapshot be taken, as JSON (kubectl reads it)."""
    rules = [
        {"apiGroups": [group], "resources": list(resources), "verbs": ["get", "list"]}
        for group, resources in API_GROUPS.items()
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "flowcost-snapshot"},
        "rules": rules,
    }
    return json.dumps(role, indent=2)


def take(
    directory: Path,
    *,
    context: str = "",
    cluster: str = "",
    kubeconfig: Path | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> list[Written]:
    """Write `directory/kubernetes/<cluster>/<resource>.json` and return what was written.

    `context` empty means kubectl's current one; the cluster is called `cluster`, or after its
    context.

    Raises:
        NotSupportedError: kubectl is not installed.
        NotPermittedError: the cluster refuses resources (all are named).
        UnreachableError: kubectl fails.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise NotSupportedError(
            "reading a live cluster needs kubectl",
            hint="install it, or copy the output of `kubectl get … -A -o json` (docs/inventory.md)",
        )
    base = [kubectl, *(["--kubeconfig", str(kubeconfig)] if kubeconfig else [])]
    context = context or _run([*base, "config", "current-context"]).strip()
    # An EKS context is an ARN: its last part is the cluster's name.
    name = cluster or context.rpartition("/")[2]
    home = directory / "kubernetes" / name
    home.mkdir(parents=True, exist_ok=True)
    written: list[Written] = []
    refused: list[str] = []
    for resource in RESOURCES:
        progress(f"{name}/{resource}")
        call = [*base, "--context", context, "get", resource, "--all-namespaces", "-o", "json"]
        try:
            answer = json.loads(_run(call))
        except _ForbiddenError:
            refused.append(resource)
            continue
        items = [_slim(item) for item in answer.get("items", [])]
        path = home / f"{resource}.json"
        path.write_text(json.dumps({**answer, "items": items}, indent=1), encoding="utf-8")
        written.append(Written(path, len(items)))
    if refused:
        raise NotPermittedError(
            f"cluster {name} refuses to list: {', '.join(refused)}",
            hint="`flowcost snapshot --print-cluster-role` prints the role to bind",
        )
    return written


class _ForbiddenError(Exception):
    """The cluster does not permit a call."""


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - kubectl with our own words
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"kubectl did not answer in {_TIMEOUT_SECONDS} s: {' '.join(command[1:])}"
        ) from None
    if done.returncode:
        if _FORBIDDEN in done.stderr:
            raise _ForbiddenError
        raise UnreachableError(f"kubectl failed: {done.stderr.strip()}")
    return done.stdout


def _slim(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what may hold secrets."""
    slim = {**item, "metadata": _without(item.get("metadata", {}), _META_DROPPED)}
    for spec in _pod_specs(slim):
        for name in _CONTAINER_LISTS:
            if name in spec:
                spec[name] = [_without(one, _CONTAINER_DROPPED) for one in spec[name]]
    return slim


def _pod_specs(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pod specs in an object: its own, its template's, its job template's."""
    spec = item.get("spec")
    while isinstance(spec, dict):
        yield spec
        template = spec.get("template") or spec.get("jobTemplate") or {}
        spec = template.get("spec")


def _without(thing: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if name not in names}
