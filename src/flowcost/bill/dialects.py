"""Which column of a bill says what: one table per dialect, for any spelling of its headers.

Legacy CUR writes `lineItem/UsageType` in CSV and `line_item_usage_type` in Parquet, CUR 2.0 the
latter and maps; columns come and go from month to month. So a header is first spelled in snake
case and then looked up; what a file lacks is empty, unless nothing could be said without it.
Sources: AWS CUR data dictionary and Data Exports table dictionary; FOCUS 1.0 to 1.3; Microsoft
FinOps toolkit (x_ columns).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from flowcost.errors import BillError

NONE: Mapping[str, str] = MappingProxyType({})

# What every reader delivers, besides the columns that are computed from these.
TEXTS = (
    "provider",
    "payer_account",
    "account",
    "resource_id",
    "usage_type",
    "operation",
    "region",
    "from_region",
    "to_region",
    "line_type",
    "line_class",
    "unit",
    "currency",
    "sku",
    "rate_code",
    "invoice",
    "category",
    "description",
    "line_key",
    "line_interval",
)
INSTANTS = ("period_start", "period_end", "billing_start")
NUMBERS = (
    "quantity",
    "unit_price",
    "list_price",
    "cost",
    "list_cost",
    "contracted_cost",
    "effective_cost",
)


@dataclass(frozen=True)
class Dialect:
    """How a family of bills names its columns.

    `columns` maps our name to the bill's, first choice first; `'text'` is a constant, `map[key]`
    a value of a map. `required` names the columns without which a file is not this bill.
    """

    name: str
    marks: tuple[str, ...]
    required: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]


CUR = Dialect(
    name="CUR",
    marks=("line_item_usage_type", "line_item_line_item_type"),
    required=(
        "line_item_usage_account_id",
        "line_item_line_item_type",
        "line_item_usage_start_date",
        "line_item_usage_type",
        "line_item_usage_amount",
        "line_item_unblended_cost",
    ),
    columns={
        "provider": ("'aws'",),
        "payer_account": ("bill_payer_account_id",),
        "account": ("line_item_usage_account_id",),
        "resource_id": ("line_item_resource_id",),
        "usage_type": ("line_item_usage_type",),
        "operation": ("line_item_operation",),
        "region": ("product_region_code", "product_region", "product[region_code]"),
        "from_region": ("product_from_region_code", "product[from_region_code]"),
        "to_region": ("product_to_region_code", "product[to_region_code]"),
        "line_type": ("line_item_line_item_type",),
        "unit": ("pricing_unit",),
        "currency": ("line_item_currency_code",),
        "sku": ("product_sku", "product[sku]"),
        "rate_code": ("pricing_rate_code", "pricing_rate_id"),
        "invoice": ("bill_invoice_id",),
        "line_key": ("identity_line_item_id",),
        "line_interval": ("identity_time_interval",),
        "period_start": ("line_item_usage_start_date",),
        "period_end": ("line_item_usage_end_date",),
        "billing_start": ("bill_billing_period_start_date",),
        "quantity": ("line_item_usage_amount",),
        "unit_price": ("line_item_unblended_rate",),
        "list_price": ("pricing_public_on_demand_rate",),
        "cost": ("line_item_unblended_cost",),
        "list_cost": ("pricing_public_on_demand_cost",),
        "contracted_cost": ("line_item_unblended_cost",),
        "effective_cost": ("line_item_net_unblended_cost", "line_item_unblended_cost"),
    },
)

FOCUS = Dialect(
    name="FOCUS",
    marks=("charge_category", "billed_cost"),
    required=("charge_category", "charge_period_start", "billed_cost", "billing_currency"),
    columns={
        "provider": ("service_provider_name", "provider_name", "provider"),
        "payer_account": ("billing_account_id",),
        "account": ("sub_account_id",),
        "resource_id": ("resource_id",),
        "usage_type": ("x_usage_type", "x_sku_meter_name", "sku_meter"),
        "operation": ("x_operation",),
        "region": ("region_id", "region"),
        "line_type": ("charge_category",),
        "line_class": ("charge_class",),
        "unit": ("consumed_unit", "pricing_unit"),
        "currency": ("billing_currency",),
        "sku": ("sku_id",),
        "rate_code": ("sku_price_id",),
        "invoice": ("invoice_id", "x_invoice_id"),
        "category": ("x_sku_meter_category", "service_category"),
        "description": ("charge_description",),
        "period_start": ("charge_period_start",),
        "period_end": ("charge_period_end",),
        "billing_start": ("billing_period_start",),
        "quantity": ("consumed_quantity", "pricing_quantity"),
        "unit_price": ("contracted_unit_price", "list_unit_price"),
        "list_price": ("list_unit_price",),
        "cost": ("billed_cost",),
        "list_cost": ("list_cost",),
        "contracted_cost": ("contracted_cost",),
        "effective_cost": ("effective_cost",),
    },
)

DIALECTS = (CUR, FOCUS)
# Our own columns: text and answers are staged in them.
STAGED = Dialect(
    name="staged",
    marks=(),
    required=(),
    columns={name: (name,) for name in (*TEXTS, *INSTANTS, *NUMBERS)},
)


def snake(header: str) -> str:
    """Return a header in snake case: `lineItem/UsageType` -> `line_item_usage_type`.

    `x_SkuMeterName` and `lineItem/BlendedRate` alike; runs of capitals are one word.
    """
    text = re.sub(r"[^0-9A-Za-z]+", "_", header.strip().lstrip("\ufeff"))
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", text)
    return text.lower().strip("_")


def dialect_of(headers: Sequence[str], file: str) -> Dialect:
    """Return the dialect of a file with these headers.

    Raises:
        BillError: the headers are of no known bill, or columns are missing.
    """
    names = {snake(header) for header in headers}
    for dialect in DIALECTS:
        if names.intersection(dialect.marks):
            missing = [name for name in dialect.required if name not in names]
            if missing:
                raise BillError(
                    f"{file}: a {dialect.name} bill without column {', '.join(missing)}",
                    hint="export the bill again with these columns",
                )
            return dialect
    raise BillError(
        f"{file}: neither CUR nor FOCUS (first columns: {', '.join(list(headers)[:5])})",
        hint="name a Cost and Usage Report, a Data Export or a FOCUS export",
    )


def found(
    dialect: Dialect, columns: Mapping[str, str], constants: Mapping[str, str] = NONE
) -> dict[str, Found]:
    """Return our column name -> what of a file says it.

    `columns` are header -> engine type; `constants` are header -> SQL of the one text in it.
    """
    known = {snake(header): (header, kind.upper()) for header, kind in columns.items()}
    told = {name: _present(dialect.columns.get(name, ()), known) for name in _ALL}
    same = {_quoted(header): literal for header, literal in constants.items()}
    return {name: [(same.get(sql, sql), kind) for sql, kind in of] for name, of in told.items()}


def select(chosen: Mapping[str, Found]) -> dict[str, str]:
    """Return our column name -> SQL over a file, or over a table that keeps its columns.

    A text that is absent or null is empty; a number that is absent, empty or not a number is
    null; an instant is UTC.
    """
    return {
        **{name: _text(of) for name, of in chosen.items() if name in TEXTS},
        **{name: _instant(of) for name, of in chosen.items() if name in INSTANTS},
        **{name: _number(of) for name, of in chosen.items() if name in NUMBERS},
    }


def unreadable(chosen: Mapping[str, Found], *names: str) -> str:
    """Return SQL that says whether one of these columns of ours is there and is not a number."""
    return " OR ".join(_unreadable(chosen[name]) for name in names)


_ALL = (*TEXTS, *INSTANTS, *NUMBERS)
Found = list[tuple[str, str]]  # (SQL, engine type)


def _quoted(header: str) -> str:
    return '"' + header.replace('"', '""') + '"'


def _present(choices: Sequence[str], known: Mapping[str, tuple[str, str]]) -> Found:
    found: Found = []
    for choice in choices:
        if choice.startswith("'"):
            found.append((choice, "VARCHAR"))
            continue
        name, _, key = choice.removesuffix("]").partition("[")
        if name not in known:
            continue
        header, kind = known[name]
        quoted = _quoted(header)
        if not key:
            if not kind.startswith("MAP"):
                found.append((quoted, kind))
        elif kind.startswith("MAP"):
            found.append((f"{quoted}['{key}']", "VARCHAR"))
    return found


def _text(found: Found) -> str:
    if len(found) == 1 and found[0][0].startswith("'"):
        return found[0][0]
    parts = [
        f"nullif({sql}, '')" if kind == "VARCHAR" else f"CAST({sql} AS VARCHAR)"
        for sql, kind in found
    ]
    return f"coalesce({', '.join([*parts, repr('')])})"


def _instant(found: Found) -> str:
    if not found:
        return "CAST(NULL AS TIMESTAMP)"
    sql, kind = found[0]
    if kind.startswith("TIMESTAMP WITH"):
        return f"make_timestamp(epoch_us({sql}))"  # UTC whatever the session's time zone
    return f"TRY_CAST({sql} AS TIMESTAMP)"


def _number(found: Found) -> str:
    parts = [f"TRY_CAST({sql} AS DECIMAL(38,10))" for sql, _ in found]
    return f"coalesce({', '.join(parts)})" if parts else "CAST(NULL AS DECIMAL(38,10))"


def _unreadable(found: Found) -> str:
    """Return SQL: a first choice that is there and is not a number."""
    if not found or found[0][1] != "VARCHAR":
        return "false"
    sql = found[0][0]
    return f"({sql} <> '' AND TRY_CAST({sql} AS DECIMAL(38,10)) IS NULL)"
