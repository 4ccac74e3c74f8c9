"""`flowcost serve token`: the text on standard output, once; a running server minds at once."""

import json

import pytest
from click.testing import CliRunner

from flowcost import clock
from flowcost.access.gate import FOLDER, Gate
from flowcost.access.principal import Role
from flowcost.cli.serve import command


@pytest.fixture
def run(tmp_path):
    def call(*words, code=0):
        place = ["--ledger", str(tmp_path / "ledger")]
        result = CliRunner().invoke(command, ["token", *words, *place])
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def gate(tmp_path):
    found = Gate(tmp_path / "ledger" / FOLDER)
    yield found
    found.close()


def test_a_token_works_until_it_is_revoked_by_another_process(run, gate):
    text = run("create", "prod-agents", "--cluster", "prod").stdout.strip()
    principal = gate.tokens.principal(text, clock.now())
    assert (principal.tenant, principal.cluster, principal.is_agent) == ("default", "prod", True)
    [row] = json.loads(run("list", "--format", "json").stdout)
    assert (row["name"], row["state"], row["role"]) == ("prod-agents", "holds", "")
    assert text.rpartition("_")[2] not in run("list").stdout
    run("revoke", row["id"])
    assert gate.tokens.principal(text, clock.now()) is None
    assert json.loads(run("list", "--format", "json").stdout)[0]["state"] == "revoked"
    actions = [(e.action, e.target) for e in gate.audit.entries("default")]
    assert actions == [("revokeToken", row["id"]), ("createToken", row["id"])]


def test_a_person_s_token_has_role_scope_and_end(run, gate):
    words = ("--role", "editor", "--namespace", "shop", "--owner", "payments", "--expires", "2d")
    text = run("create", "ann", *words, "--tenant", "acme").stdout.strip()
    found = gate.tokens.principal(text, clock.now())
    assert (found.tenant, found.role) == ("acme", Role.EDITOR)
    assert (found.namespaces, found.owners) == (("shop",), ("payments",))
    [made] = gate.tokens.all("acme")
    assert (made.expires_at - made.created_at).days == 2
    new = run("rotate", made.id, "--overlap", "1h", "--tenant", "acme").stdout.strip()
    assert gate.tokens.principal(new, clock.now()) == gate.tokens.principal(text, clock.now())


def test_a_token_of_another_tenant_does_not_exist(run, gate):
    run("create", "ann", "--tenant", "acme")
    [made] = gate.tokens.all("acme")
    assert run("revoke", made.id, code=1).exception.code == "not-found"
    assert run("create", "x", "--cluster", "c", "--role", "admin", code=1).exception.code == "usage"
