"""flowcost.toml is strict, tells every fault at once, and never holds a secret."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowcost import config, strict_toml
from flowcost.cli import main
from flowcost.config import Config
from flowcost.errors import ConfigError
from flowcost.secret import Secret


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the file and returns its path."""

    def written(text):
        path = tmp_path / "flowcost.toml"
        path.write_text(text)
        return path

    return written


def test_nothing_written_is_all_defaults(write):
    assert config.load(None, {}) == Config()
    assert config.load(write(""), {}) == Config()


def test_values_are_taken_with_their_units_and_paths_from_the_folder_of_the_file(write):
    path = write(
        """
        [server]
        listen = "[::1]:9000"
        [ledger]
        path = "books"
        [live]
        lateness = "90m"
        [rates]
        books = ["ours.csv", "/etc/theirs.csv"]
        [inventory.tenants]
        acme = "acme"
        """
    )
    made = config.load(path, {})
    assert made.server.address == ("::1", 9000)
    assert made.ledger.path == path.parent / "books"
    assert made.live.lateness == timedelta(minutes=90)
    assert made.rates.books == (path.parent / "ours.csv", Path("/etc/theirs.csv"))
    assert made.inventory.tenants == {"acme": path.parent / "acme"}


def test_every_fault_is_told_with_its_place(write):
    path = write(
        """
        serve = 1
        [server]
        listn = "x"
        listen = 5
        [live]
        lateness = "soon"
        threads = 0
        [server.tls]
        key = "only-one.pem"
        """
    )
    with pytest.raises(ConfigError) as caught:
        config.load(path, {"FLOWCOST__LIVE__EVRY": "1s", "FLOWCOST__LEDGER__PATH__X": "1"})
    text = str(caught.value)
    for fault in (
        "serve: no such key",
        "server.listn: no such key; did you mean listen?",
        "server.listen: expected `str`, got `int`",
        "live.lateness: expected a span like",
        "live.threads: expected `int` >= 1",
        "FLOWCOST__LIVE__EVRY: no such key; did you mean every?",
        "FLOWCOST__LEDGER__PATH__X: ledger.path is no section",
    ):
        assert fault in text
    assert "7 fault(s)" in text


def test_what_only_makes_sense_together_is_a_fault_of_its_section(write):
    with pytest.raises(ConfigError, match=r"server\.tls: certificate and key belong together"):
        config.load(write('[server.tls]\nkey = "k.pem"'), {})
    with pytest.raises(ConfigError, match=r"server: listen = 'nowhere' is not HOST:PORT"):
        config.load(write('[server]\nlisten = "nowhere"'), {})


def test_the_environment_overrides_and_nothing_else(write):
    path = write('[ledger]\npath = "a"\n[live]\nthreads = 3')
    made = config.load(
        path,
        {
            "FLOWCOST__LEDGER__PATH": "b",
            "FLOWCOST__LIVE__THREADS": "1",
            "FLOWCOST__RATES__BOOKS": '["x.csv"]',
            "FLOWCOST_OTHER": "ignored",
        },
    )
    assert made.ledger.path == Path("b")
    assert made.live.threads == 1
    assert made.rates.books == (Path("x.csv"),)


def test_what_is_shown_can_be_read_again(write):
    made = config.load(write('[live]\nlateness = "36h"'), {})
    plain = config.shown(made)
    assert plain["live"]["lateness"] == "36h"
    assert plain["retention"]["minutes"] == "3d"


def test_every_key_says_what_it_is_and_stands_in_the_schema():
    described = config.schema()
    for place in strict_toml.places(Config):
        assert place.description, place.path
        node = described
        for name in place.path.split("."):
            node = node["properties"][name.removesuffix("[]")]
            node = node["items"] if name.endswith("[]") else node
        assert node["description"] == place.description
    assert described["additionalProperties"] is False
    assert described["properties"]["live"]["properties"]["lateness"]["pattern"]


def test_a_secret_is_read_from_where_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("s3cret\n")
    assert Secret(file=tmp_path / "token").read() == "s3cret"
    monkeypatch.setenv("THE_TOKEN", "other")
    assert Secret(env="THE_TOKEN").read() == "other"
    for missing in (Secret(file=tmp_path / "none"), Secret(env="NO_SUCH"), Secret()):
        with pytest.raises(ConfigError):
            missing.read()


def test_the_command_checks_shows_and_describes(write):
    path = write('[server]\nlisten = "127.0.0.1:1"')
    runner = CliRunner()
    assert "all right" in runner.invoke(main, ["config", "check", "--config", str(path)]).output
    shown = runner.invoke(main, ["config", "show", "--config", str(path)])
    assert json.loads(shown.output)["server"]["listen"] == "127.0.0.1:1"
    schema = json.loads(runner.invoke(main, ["config", "schema"]).output)
    assert "listen" in schema["properties"]["server"]["properties"]
