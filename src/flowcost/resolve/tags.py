"""What tags, labels and custom fields say: team, stage and service, under their usual names.

Keys are compared without case. Of several keys that say the same attribute, the first in
`MEANINGS` wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

# key -> field of `Identity`. `app.kubernetes.io/name` is Kubernetes' recommended label.
MEANINGS = {
    "owner.team": "owner_team",
    "team": "owner_team",
    "stage": "stage",
    "environment": "stage",
    "env": "stage",
    "service.name": "service_name",
    "service": "service_name",
    "app.kubernetes.io/name": "service_name",
}


def attributes(tags: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the identity fields that `tags` (key and value) spell out."""
    said = {
        meaning: value.strip() for key, value in dict(tags).items() if (meaning := _meaning(key))
    }
    found: dict[str, str] = {}
    if said:
        for key, field in MEANINGS.items():
            if value := said.get(key, ""):
                found.setdefault(field, value)
    return found


@lru_cache(maxsize=4096)
def _meaning(key: str) -> str:
    """Return the key of `MEANINGS` that a key is, "" if it says nothing here."""
    folded = key.casefold()
    return folded if folded in MEANINGS else ""
