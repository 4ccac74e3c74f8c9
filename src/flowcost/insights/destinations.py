"""Where signals go: only where the operator says, in the form each place reads.

A webhook is signed as the Standard Webhooks specification says, so that receivers verify it with
a library they have. The address of a Slack-compatible webhook is itself its secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from flowcost import clock
from flowcost.errors import UsageError
from flowcost.insights.budgets import short_form
from flowcost.insights.incidents import Incident
from flowcost.insights.signals import Signal
from flowcost.secret import Secret

_SHORTEST = 16  # bytes of a secret
_PREFIX = "whsec_"
_Url = Annotated[str, Meta(description="http or https address")]
_Name = Annotated[str, Meta(description="what API and metrics call it")]
_Tenant = Annotated[str, Meta(description="whose signals it gets")]


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[signals.webhooks]]`: a receiver of signed JSON."""

    url: _Url
    secret: Annotated[Secret, Meta(description="shared secret; `whsec_…` is base64")]
    name: _Name = "webhook"
    tenant: _Tenant = "default"

    def __post_init__(self) -> None:
        _check_url(self.url)


class Slack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[signals.slack]]`: an incoming webhook as Slack, Mattermost and others have them."""

    url: Annotated[Secret, Meta(description="its address, which is a secret")]
    name: _Name = "slack"
    tenant: _Tenant = "default"


class Alertmanager(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[signals.alertmanagers]]`: a Prometheus Alertmanager, API version 2."""

    url: _Url
    token: Annotated[Secret, Meta(description="bearer token, if it asks for one")] = Secret()
    name: _Name = "alertmanager"
    tenant: _Tenant = "default"

    def __post_init__(self) -> None:
        _check_url(self.url)


class Signals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[signals]`: how often budgets are looked at, and who is told.

    Raises:
        ValueError: two destinations have one name, or a rule of `budgets` is malformed.
    """

    every: Annotated[timedelta, Meta(description="pause between two looks at budgets")] = timedelta(
        minutes=1
    )
    budgets: Annotated[
        str, Meta(description="more `[[budgets]]` in short: `team:payments=500,path:cross_az=90`")
    ] = ""
    webhooks: tuple[Webhook, ...] = ()
    slack: tuple[Slack, ...] = ()
    alertmanagers: tuple[Alertmanager, ...] = ()

    def __post_init__(self) -> None:
        if self.every <= timedelta(0):
            raise ValueError("every must be longer than nothing")
        try:
            short_form(self.budgets)
        except UsageError as error:
            raise ValueError(error.message) from None
        names = Counter(each.name for each in (*self.messages, *self.alertmanagers))
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f"name each destination once: {', '.join(twice)}")

    @property
    def messages(self) -> tuple[Webhook | Slack, ...]:
        """Return the destinations that are told of each signal once."""
        return (*self.webhooks, *self.slack)


class Post(Struct, frozen=True):
    """One HTTP POST of JSON."""

    url: str
    headers: dict[str, str]
    body: bytes


def message(to: Webhook | Slack, signal: Signal, now: datetime) -> Post:
    """Return a signal as one message.

    Raises:
        ConfigError: the secret is not there.
        ValueError: the secret is no secret, or no address.
    """
    if isinstance(to, Webhook):
        body = msgspec.json.encode(signal)
        at = str(int(now.timestamp()))
        headers = {
            "webhook-id": signal.id,
            "webhook-timestamp": at,
            "webhook-signature": signature(to.secret.read(), signal.id, at, body),
        }
        return Post(to.url, headers, body)
    url = to.url.read()
    _check_url(url)
    text = f"*{_plain(signal.title)}*\n{_plain(signal.summary)}"
    return Post(url, {}, msgspec.json.encode({"text": text}))


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the Standard Webhooks signature of a message, version 1 (HMAC-SHA256).

    Raises:
        ValueError: the secret is too short, or not base64 after `whsec_`.
    """
    try:
        encoded = secret.startswith(_PREFIX)
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if encoded else b""
    except binascii.Error:
        raise ValueError("the secret is not base64 after whsec_") from None
    key = key or secret.encode()
    if len(key) < _SHORTEST:
        raise ValueError(f"the secret is shorter than {_SHORTEST} bytes")
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


def alerts(to: Alertmanager, standing: Iterable[tuple[Incident, set[tuple[str, str]]]]) -> Post:
    """Return how things stand, for an Alertmanager: it forgets, so it is told again and again.

    `standing` are incidents and the (kind, severity) of earlier signals, which are over.

    Raises:
        ConfigError: the token is not there.
    """
    found = []
    for incident, earlier in standing:
        ends = ends_at(incident)
        found.append(_alert(incident, incident.kind, incident.severity, ends))
        found += [
            _alert(incident, kind, severity, incident.occurred_at)
            for kind, severity in sorted(earlier)
        ]
    headers = {"authorization": f"Bearer {to.token.read()}"} if to.token else {}
    return Post(f"{to.url.rstrip('/')}/api/v2/alerts", headers, msgspec.json.encode(found))


def ends_at(incident: Incident) -> datetime:
    """Return when an alert is over: a person's word, else the end of what it is about."""
    last = incident.changes[-1]
    return last.at if incident.is_closed else incident.until


def _alert(incident: Incident, kind: str, severity: str, ends: datetime) -> dict[str, object]:
    words = kind.replace(".", "_").split("_")
    return {
        "labels": {
            "alertname": "Flowcost" + "".join(word.capitalize() for word in words[1:]),
            "severity": severity,
            "tenant": incident.tenant,
            "target": incident.target,
            "incident": incident.id,
        },
        "annotations": {"summary": incident.title, "description": incident.summary},
        "startsAt": clock.iso(min(incident.opened_at, ends)),
        "endsAt": clock.iso(ends),
    }


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http or https address")


def _plain(text: str) -> str:
    """Return a text in which Slack's markup finds nothing to expand."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
