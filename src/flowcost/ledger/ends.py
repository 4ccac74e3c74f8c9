"""The two ends of a charge as SQL: attributes of an end, and which end a view means.

Identity attributes come from `schema`; a few are put together from several. An attribute an end
does not have is `(unattributed)`: an account, never an omission.
"""

from __future__ import annotations

from flowcost.schema import IDENTITIES, attribute_name

UNATTRIBUTED = "(unattributed)"

SENDER = "CASE c.direction WHEN 'transmit' THEN 'local' ELSE 'remote' END"
RECEIVER = "CASE c.direction WHEN 'transmit' THEN 'remote' ELSE 'local' END"
ADDRESSES = {
    "local": "c.local_address",
    "remote": "c.remote_address",
    "source": f"CASE {SENDER} WHEN 'local' THEN c.local_address ELSE c.remote_address END",
    "destination": f"CASE {RECEIVER} WHEN 'local' THEN c.local_address ELSE c.remote_address END",
}
# Ends that are nobody's workload: what remains is the private side.
_OUTSIDE = (
    "('internet', 'service', 'ec2_public', 'cloudfront', 'global_accelerator', 'unknown', '')"
)

# attribute_by -> the end that pays, as SQL; null where it is not known.
ATTRIBUTE_BY = {
    "local": "'local'",
    "initiator": "CASE c.initiator WHEN 'local' THEN 'local' WHEN 'remote' THEN 'remote' END",
    # Who opened the connection dialed the other end; failing that, what was dialed is far away.
    "dialed_service": (
        "CASE WHEN c.initiator = 'local' THEN 'remote' WHEN c.initiator = 'remote' THEN 'local'"
        " WHEN c.dialed_service <> '' AND c.provenance = 'observed' THEN 'remote' END"
    ),
    "source": SENDER,
    "private_side": (
        "CASE WHEN c.observer_type = 'gateway' THEN 'local'"  # oriented to the private client
        f" WHEN coalesce(local_end.kind, '') NOT IN {_OUTSIDE} THEN 'local'"
        f" WHEN coalesce(remote_end.kind, '') NOT IN {_OUTSIDE} THEN 'remote' END"
    ),
}
ATTRIBUTE_BY_DOCS = {
    "local": "the end whose meter ran: as billed",
    "initiator": "the end that opened the connection",
    "dialed_service": "the serving end: the Service that was dialed",
    "source": "the sender",
    "private_side": "the end inside, where the other is a provider service or the internet",
}

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")


def _or_unattributed(sql: str) -> str:
    return f"coalesce(nullif({sql}, ''), '{UNATTRIBUTED}')"


def _address_text(address: str) -> str:
    """Return SQL of a 16-byte address as text; IPv6 in full, without `::`."""
    octets = ", ".join(
        f"CAST('0x' || substr(hex({address}), {start}, 2) AS INTEGER)" for start in (25, 27, 29, 31)
    )
    groups = ", ".join(f"lower(substr(hex({address}), {start}, 4))" for start in range(1, 33, 4))
    mapped = f"hex({address}) LIKE '00000000000000000000FFFF%'"
    return f"CASE WHEN {mapped} THEN concat_ws('.', {octets}) ELSE concat_ws(':', {groups}) END"


def _first(*choices: tuple[str, str], otherwise: str = UNATTRIBUTED) -> str:
    whens = " ".join(f"WHEN {field} <> '' THEN {shown}" for field, shown in choices)
    return f"CASE {whens} ELSE '{otherwise}' END"


_IN_NAMESPACE = "concat_ws('/', nullif(k8s_namespace_name, ''), {})"
# What an identity is called, empty where only its address or less is known: once per identity,
# not once per charge.
SHOWN = _first(
    ("k8s_workload_name", _IN_NAMESPACE.format("k8s_workload_name")),
    ("service_name", "service_name"),
    ("k8s_pod_name", _IN_NAMESPACE.format("k8s_pod_name")),
    ("dns_name", "dns_name"),
    ("cloud_service", "concat_ws(' ', cloud_service, nullif(cloud_region, ''))"),
    ("cloud_resource_id", "cloud_resource_id"),
    otherwise="",
)


def attributes(end: str) -> dict[str, tuple[str, str]]:
    """Return every attribute of one end (`local` or `remote`): name -> (SQL, sentence)."""
    row = f"{end}_end"
    found = {
        attribute_name(column.name): (_or_unattributed(f"{row}.{column.name}"), column.doc)
        for column in IDENTITIES
        if column.group_key
    }
    found["kind"] = (f"coalesce(nullif({row}.kind, ''), 'unknown')", found["kind"][1])
    for kind in _WORKLOADS:
        name = f"CASE {row}.k8s_workload_kind WHEN '{kind}' THEN {row}.k8s_workload_name END"
        found[f"k8s.{kind.lower()}.name"] = (_or_unattributed(name), f"{kind} of the end")
    found["owner"] = (
        _first(
            *(
                (f"{row}.{field}", f"{row}.{field}")
                for field in (
                    "owner_team",
                    "k8s_namespace_name",
                    "service_name",
                    "cloud_account_id",
                    "cloud_service",
                )
            ),
            (f"nullif({row}.kind, 'unknown')", f"{row}.kind"),
        ),
        "who is behind the end: team, else namespace, service, account, provider service, kind",
    )
    address = f"c.{end}_address"
    found["name"] = (
        _first(
            (f"{row}.shown", f"{row}.shown"),
            (f"hex({address})", _address_text(address)),
            (f"{row}.cloud_subnet_id", f"{row}.cloud_subnet_id"),
            (f"nullif({row}.kind, 'unknown')", f"{row}.kind"),
        ),
        "the end at a glance: workload, else service, pod, DNS name, resource, address, kind",
    )
    return found


LOCAL = attributes("local")
REMOTE = attributes("remote")

SIDES = {
    "local": "observed end",
    "remote": "far end",
    "source": "sender",
    "destination": "receiver",
    "other": "end opposite the payer",
    "": "paying end",
}

_SELECTORS = {"local": "'local'", "remote": "'remote'", "source": SENDER, "destination": RECEIVER}


def at(side: str, attribute: str, attribute_by: str) -> str:
    """Return the SQL of `attribute` at the end `side` names."""
    local, remote = LOCAL[attribute][0], REMOTE[attribute][0]
    if side == "other":
        local, remote = remote, local
    elif side == "" and attribute_by == "dialed_service":
        local, remote = _dialed(attribute, local), _dialed(attribute, remote)
    selector = _SELECTORS.get(side, ATTRIBUTE_BY[attribute_by])
    if selector == "'local'":
        return local
    if selector == "'remote'":
        return remote
    return (
        f"CASE {selector} WHEN 'local' THEN {local} WHEN 'remote' THEN {remote}"
        f" ELSE '{UNATTRIBUTED}' END"
    )


def _dialed(attribute: str, sql: str) -> str:
    """Let the dialed Service (`namespace/name`) name the serving end where it was recorded."""
    parts = {
        "k8s.namespace.name": "split_part(c.dialed_service, '/', 1)",
        "service.name": "split_part(c.dialed_service, '/', 2)",
        "name": "c.dialed_service",
    }
    return f"coalesce(nullif({parts[attribute]}, ''), {sql})" if attribute in parts else sql
