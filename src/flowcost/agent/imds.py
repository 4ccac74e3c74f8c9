"""Where this node is, told by the instance metadata service: version 2, never version 1.

AWS, "Use the Instance Metadata Service": a session token is fetched by PUT and sent with every
GET. A node that does not answer the PUT gets no second chance without a token.
"""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from msgspec import Struct

from flowcost.errors import UnreachableError

ENDPOINT = "http://169.254.169.254"
TOKEN_TTL_S = 300
HINT = (
    "In a pod network the hop limit must be 2; with hostNetwork 1 is enough. "
    "Or name the place: --provider, --region, --zone-id."
)


class Place(Struct, frozen=True, kw_only=True):
    """Where a node is; empty where not known. `zone_id` is the AZ id (`use1-az1`)."""

    provider: str = ""
    account: str = ""
    region: str = ""
    zone_id: str = ""
    zone_name: str = ""
    vpc: str = ""
    subnet: str = ""
    instance: str = ""


def place(endpoint: str = ENDPOINT, *, timeout_s: float = 1.0) -> Place:
    """Return where this EC2 instance is.

    Raises:
        UnreachableError: the service does not answer, or only version 1 does.
    """
    session = _Session(endpoint, timeout_s)
    document = json.loads(session.get("/latest/dynamic/instance-identity/document"))
    meta = "/latest/meta-data"
    interface = f"{meta}/network/interfaces/macs/{session.get(f'{meta}/mac')}"
    return Place(
        provider="aws",
        account=document.get("accountId", ""),
        region=document.get("region", ""),
        zone_id=session.get(f"{meta}/placement/availability-zone-id"),
        zone_name=document.get("availabilityZone", ""),
        vpc=session.get(f"{interface}/vpc-id"),
        subnet=session.get(f"{interface}/subnet-id"),
        instance=document.get("instanceId", ""),
    )


class _Session:
    def __init__(self, endpoint: str, timeout_s: float) -> None:
        self._where = urlsplit(endpoint).netloc
        self._timeout_s = timeout_s
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}
        self._headers = {
            "X-aws-ec2-metadata-token": self._ask("PUT", "/latest/api/token", lifetime)
        }

    def get(self, path: str) -> str:
        return self._ask("GET", path, self._headers)

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        connection = http.client.HTTPConnection(self._where, timeout=self._timeout_s)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise UnreachableError(
                f"instance metadata at {self._where}: {error or type(error).__name__}", hint=HINT
            ) from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise UnreachableError(
                f"instance metadata at {self._where}: {method} {path} answered {response.status}",
                hint=HINT,
            )
        return body.strip()
