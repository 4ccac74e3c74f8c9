"""docs/inventory.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowcost.resolve import PRECEDENCE, declared
from flowcost.resolve.aws_operations import OPERATIONS
from flowcost.resolve.grammar import ATTRIBUTES
from flowcost.resolve.kubernetes_resources import RESOURCES
from flowcost.resolve.tags import MEANINGS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n{title}\n")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("operation", [one.name for one in OPERATIONS])
def test_every_operation_is_dumped_by_hand_and_explained(operation):
    assert operation in section("## Or dump it by hand")
    assert f"`{operation}`" in section("## What each file gives")


def test_no_operation_is_named_that_is_not_read():
    named = set(re.findall(r"\b(?:describe|get|search)-[a-z-]+[a-z]\b", PAGE))
    assert named - {"get-caller-identity"} == {one.name for one in OPERATIONS}


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_resource_is_dumped_by_hand_and_explained(resource):
    assert re.search(rf"\b{resource}\b", section("## Or dump it by hand"))
    assert f"`{resource}`" in section("## What each file gives")


@pytest.mark.parametrize("name", [*ATTRIBUTES, *MEANINGS])
def test_every_attribute_and_tag_is_named(name):
    assert f"`{name}`" in PAGE


def test_the_declaration_on_the_page_can_be_read():
    (text,) = blocks("toml")
    layer = declared.parse(text)
    assert len(layer.claims) == 4
    assert len(layer.routes) == len(layer.services) == len(layer.gateways) == 1


def test_the_order_of_sources_is_the_codes():
    words = {
        "kubernetes": "Kubernetes",
        "interfaces": "AWS interfaces",
        "declared": "`declared.toml`",
        "netbox": "NetBox",
        "subnets": "AWS subnets",
        "published": "published ranges",
    }
    assert list(words) == list(PRECEDENCE)
    assert ", ".join(words.values()) in " ".join(PAGE.split())


def test_every_finding_of_the_room_is_listed_and_no_other():
    sources = (ROOT / "src" / "flowcost" / "resolve").glob("*.py")
    raised = {
        code
        for path in sources
        for code in re.findall(r'code="([a-z-]+)"', path.read_text(encoding="utf-8"))
    }
    assert raised == set(
        re.findall(r"^\| `([a-z-]+)` \|", section("## What reading reports"), re.M)
    )
