"""One strict flowcost.toml: every room owns its section, here they are one document.

Environment only overrides: `FLOWCOST__SECTION__KEY` names one value of the document. Secrets are
named by file or variable (`secret.Secret`). All faults are told at once, each with its place.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from flowcost.access.settings import Access
from flowcost.errors import ConfigError
from flowcost.insights.anomalies import Anomalies
from flowcost.insights.budgets import Budget
from flowcost.insights.destinations import Signals
from flowcost.insights.savings import Savings
from flowcost.server import settings
from flowcost.strict_toml import fields_of, frozen, override, schema_of, span_text

FILE = "flowcost.toml"
PREFIX = "FLOWCOST__"


class Ledger(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[ledger]`: where it is."""

    path: Annotated[Path, Meta(description="folder of the ledger")] = Path("ledger")


class Inventory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inventory]`: who addresses were, beside what agents and clusters tell."""

    path: Annotated[
        Path | None, Meta(description="what `flowcost snapshot` writes, or a declared.toml")
    ] = None
    tenants: Annotated[
        dict[str, Path], Meta(description="another one for each tenant that is named")
    ] = {}
    zones: Annotated[str, Meta(description="cidr=zone[/region],… beside the inventory")] = ""
    services: Annotated[str, Meta(description="cidr=service:team,… beside the inventory")] = ""


class Cost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[cost]`: the summary at `/v1/cost/summary`, at one price per GiB and class."""

    enabled: Annotated[bool, Meta(description="make the summary at all")] = True
    priced: Annotated[bool, Meta(description="false is volume only, whatever the prices")] = True
    prices_file: Annotated[
        Path | None, Meta(description="JSON price table; the packaged one if left out")
    ] = None
    chatty_window: Annotated[str, Meta(description="7d, or lifetime")] = "7d"

    def __post_init__(self) -> None:
        if self.chatty_window not in ("7d", "lifetime"):
            raise ValueError(f"chatty_window {self.chatty_window!r} is not 7d or lifetime")


class Rates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[rates]`: what is laid over the list."""

    books: Annotated[
        tuple[Path, ...], Meta(description="operator books; later ones win over earlier ones")
    ] = ()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of flowcost.toml."""

    server: Annotated[settings.Server, Meta(description="where it listens")] = settings.Server()
    ledger: Annotated[Ledger, Meta(description="where the ledger is")] = Ledger()
    inventory: Annotated[Inventory, Meta(description="who addresses were")] = Inventory()
    clusters: Annotated[
        tuple[settings.Cluster, ...], Meta(description="Kubernetes clusters that are watched")
    ] = ()
    rates: Annotated[Rates, Meta(description="rate books over the list")] = Rates()
    cost: Annotated[Cost, Meta(description="the cost summary")] = Cost()
    live: Annotated[settings.Live, Meta(description="from segments to hours")] = settings.Live()
    inbox: Annotated[settings.Inbox, Meta(description="what may wait")] = settings.Inbox()
    access: Annotated[Access, Meta(description="who may ask")] = Access()
    budgets: Annotated[tuple[Budget, ...], Meta(description="what may be spent in a month")] = ()
    anomalies: Annotated[tuple[Anomalies, ...], Meta(description="which days are unusual")] = ()
    savings: Annotated[tuple[Savings, ...], Meta(description="tell what could be saved")] = ()
    signals: Annotated[Signals, Meta(description="who is told of it")] = Signals()
    retention: Annotated[settings.Retention, Meta(description="what is kept beside the ledger")] = (
        settings.Retention()
    )


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Return the configuration of a file (none: only defaults) under an environment's overrides.

    Relative paths in the file are relative to its folder.

    Raises:
        ConfigError: something cannot be taken; all faults are listed.
    """
    document = _read(path) if path else {}
    base = path.resolve().parent if path else None
    problems: list[str] = []
    values = fields_of(Config, document, "", base, problems)
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(PREFIX):
            override(Config, values, name, text, problems)
    if not problems:
        made: Config = frozen(Config, values, "", problems)
        if not problems:
            return made
    where = f"{path}: " if path else ""
    raise ConfigError(
        f"{where}{len(problems)} fault(s)\n" + "\n".join(f"  {problem}" for problem in problems),
        hint="docs/reference/config.md lists every key; `flowcost config check` tries a file",
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of flowcost.toml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema_of(Config)}


def shown(config: Config) -> dict[str, Any]:
    """Return the configuration as plain values; secrets are named, as in the file."""
    plain: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    _spell(plain, config)
    return plain


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(), parse_float=Decimal)  # amounts stay exact
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name it with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _spell(plain: dict[str, Any], config: Struct) -> None:
    for field in msgspec.structs.fields(type(config)):
        value = getattr(config, field.name)
        if isinstance(value, timedelta):
            plain[field.encode_name] = span_text(value)
        elif isinstance(value, Struct):
            _spell(plain[field.encode_name], value)
