"""Columns are data: names, types and group keys hang together."""

import msgspec
import pytest

from flowcost import schema
from flowcost.model import Identity


@pytest.mark.parametrize("table", schema.TABLES)
def test_every_column_has_a_type_and_a_sentence(table):
    names = [column.name for column in schema.TABLES[table]]
    assert len(names) == len(set(names))
    for column in schema.TABLES[table]:
        assert column.type in schema.DUCKDB_TYPES
        assert column.doc


def test_no_type_is_a_float():
    assert not {"DOUBLE", "FLOAT", "REAL", "HUGEINT"} & set(schema.DUCKDB_TYPES.values())


def test_identity_columns_are_the_identity_fields():
    fields = [field.name for field in msgspec.structs.fields(Identity)]
    assert [column.name for column in schema.IDENTITIES[1:]] == fields


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("k8s_pod_name", "k8s.pod.name"),
        ("cloud_availability_zone", "cloud.availability_zone"),
        ("cloud_account_id", "cloud.account.id"),
        ("cloud_vpc_id", "cloud.vpc_id"),
        ("cloud_resource_id", "cloud.resource_id"),
        ("owner_team", "owner.team"),
    ],
)
def test_attributes_are_spelled_as_opentelemetry_spells_them(field, name):
    assert schema.attribute_name(field) == name
