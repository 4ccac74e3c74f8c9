"""The Kubernetes resources of an inventory; some are read by other parts of Flowcost."""

from __future__ import annotations

# API group -> resources, as a ClusterRole spells them.
API_GROUPS = {
    "": ("pods", "nodes", "services", "namespaces", "persistentvolumes", "persistentvolumeclaims"),
    "apps": ("replicasets", "deployments", "statefulsets", "daemonsets"),
    "batch": ("jobs", "cronjobs"),
    "discovery.k8s.io": ("endpointslices",),
    "storage.k8s.io": ("storageclasses",),
}

RESOURCES = tuple(name for names in API_GROUPS.values() for name in names)
