"""The pages about API and access say what the code does."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from flowcost import config, strict_toml
from flowcost.access.gate import Gate
from flowcost.views.api import openapi, routes
from flowcost.views.api.table import endpoints
from flowcost.views.service import Service

DOCS = Path(config.__file__).parents[2] / "docs"
PAGES = [(DOCS / name).read_text() for name in ("access.md", "api.md")]
BLOCKS = [block for page in PAGES for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[0])
def test_an_example_is_a_configuration_that_loads(block, tmp_path):
    path = tmp_path / "flowcost.toml"
    path.write_text(block)
    found = msgspec.to_builtins(config.load(path), enc_hook=str)
    for section, values in tomllib.loads(block).items():
        assert values.keys() <= found[section].keys()
    assert strict_toml.places(config.Config)


def test_every_endpoint_stands_on_a_page_and_no_other_does():
    named = set(re.findall(r"/v1/[a-z/]+", " ".join(PAGES)))
    table = {endpoint.path.partition("/{")[0] for endpoint in endpoints()}
    assert named <= table
    of_people = {e.path.partition("/{")[0] for e in endpoints() if e.role is not None}
    assert of_people <= named


def test_every_route_of_the_api_is_in_the_table(tmp_path, shop):
    gate = Gate(tmp_path)
    parts = dict.fromkeys(("inbox", "live", "clusters", "budgets", "incidents", "now"))
    served = {route.path for route in routes(Service(ledger=shop, access=gate, **parts))}
    gate.close()
    assert served == {endpoint.path for endpoint in endpoints()} | {openapi.PATH}
