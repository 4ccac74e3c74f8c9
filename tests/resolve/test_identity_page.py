"""docs/identity.md says what the code does."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import yaml

from flowcost import config
from flowcost.resolve.chronicle import SETTLES
from flowcost.resolve.kubernetes_facts import RESOURCES
from flowcost.resolve.kubernetes_watch import Patience

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return text


def test_the_configuration_on_the_page_can_be_read(tmp_path):
    (tmp_path / "flowcost.toml").write_text(block("toml"))
    read = config.load(tmp_path / "flowcost.toml", {})
    assert [one.name for one in read.clusters] == ["prod", "edge", "home"]
    assert read.retention.identities == config.Config().retention.identities


def test_the_role_is_what_is_watched_and_no_more():
    rules = yaml.safe_load(block("yaml"))["rules"]
    granted = {
        (group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert all(rule["verbs"] == ["list", "watch"] for rule in rules)
    assert granted == {
        ("" if one.path.startswith("/api/") else one.path.split("/")[2], one.name)
        for one in RESOURCES
    }


def test_the_times_on_the_page_are_the_codes():
    patience = Patience()
    assert timedelta(minutes=5) == SETTLES
    assert patience.watch * 1.5 == timedelta(minutes=3).total_seconds()
    assert patience.idle == timedelta(minutes=3.5).total_seconds()
    assert patience.most == timedelta(minutes=1).total_seconds()
