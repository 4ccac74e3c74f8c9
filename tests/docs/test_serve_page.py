"""docs/serve.md: its commands run, in its order, against a real server; its files are taken."""

import configparser
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
import yaml
from tests.server.posting import both_ends

from flowcost import clock, config
from flowcost.agent.endpoint import Endpoint
from flowcost.agent.outbox import Outbox
from flowcost.agent.poster import Poster
from flowcost.cli import main
from flowcost.views import series

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "serve.md").read_text()
HOST = "costs.example.org"
NEEDED = ("openssl", "curl", "bash")
pytestmark = pytest.mark.slow


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def lines():
    """Return every command of the page, in order."""
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"\s+#.*", "", line)


def parsed(words):
    """Return what a command line means, without running it."""
    command, *options = words
    return main.get_command(click.Context(main), command).make_context(command, options).params


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Machine:
    """The page's machine: its folders below one, its systemd a process, its agents real posters."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.process = None
        for name in ("etc", "backup", "work", "bin"):
            (folder / name).mkdir()
        (folder / "bin" / "flowcost").write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -m flowcost "$@"\n'
        )
        (folder / "bin" / "flowcost").chmod(0o755)
        for name, text in (("edge.token", "x"), ("edge.crt", ""), ("kubeconfig", "")):
            (folder / "etc" / name).write_text(text)
        (folder / "etc" / "kubeconfig").write_text(
            "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
            " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}],"
            " users: [{name: u, user: {token: t}}]}"
        )
        (folder / "etc" / "flowcost.toml").write_text(self.here(blocks("toml")[0]))
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        clean = {name: value for name, value in os.environ.items() if "FLOWCOST" not in name}
        self.environment = {**clean, "PATH": path, "PYTHONPATH": str(ROOT)}

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    def here(self, text):
        """Return text of the page with the places of this machine."""
        for theirs, ours in (
            ("0.0.0.0:8443", f"127.0.0.1:{self.port}"),
            ("/etc/flowcost", str(self.folder / "etc")),
            ("/var/lib/flowcost", str(self.folder / "var")),
            ("/backup/flowcost", str(self.folder / "backup" / "flowcost")),
            (f"https://{HOST}", self.url),
            (HOST, "localhost"),
            ("https://10.0.0.1:6443", "http://127.0.0.1:9"),
        ):
            text = text.replace(theirs, ours)
        return text

    def bash(self, line):
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd=self.folder / "etc",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def systemctl(self, verb):
        if verb in {"stop", "restart"} and self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0
            self.process = None
        if verb in {"start", "restart"} and not self.process:
            words = ["serve", "--config", str(self.folder / "etc" / "flowcost.toml")]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flowcost", *words],
                env=self.environment,
                cwd=self.folder / "work",
                stderr=subprocess.DEVNULL,
            )
            self.wait(lambda: self.get("/healthz") is not None)

    def get(self, path, token=""):
        headers = {"Authorization": f"Bearer {self.secret(token)}"} if token else {}
        context = ssl.create_default_context(cafile=self.folder / "etc" / "tls.crt")
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def secret(self, name):
        return (self.folder / "etc" / f"{name}.token").read_text().strip()

    def wait(self, check, seconds=60):
        until = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < until, "too late"
            time.sleep(0.3)

    def agent(self, line):
        """Post what two nodes saw as the agents of a page's line would."""
        asked = parsed(line.split()[1:])
        spool = self.folder / "spool"
        outbox = Outbox(spool / "outbox", spool, epoch=time.time_ns(), limit_bytes=1 << 30)
        hour = clock.hour_of(datetime.now(UTC) - timedelta(minutes=5))
        for one in both_ends(1, 1000, hour=hour):
            (spool / "1.seg").touch()
            replacement = outbox.replacing(spool / "1.seg")
            sequence = outbox.next_sequence()
            replacement.stage(type(one)(**{
                name: getattr(one, name) for name in one.__struct_fields__
            } | {"sequence": sequence, "epoch": outbox.epoch}))  # fmt: skip
            replacement.commit()
        endpoint = Endpoint(
            asked["server"],
            what="server",
            token_file=Path(asked["token_file"]),
            ca_file=Path(asked["ca_file"]),
        )
        poster = Poster(outbox, endpoint)
        while len(outbox):
            assert poster.step() == 0, poster.status
        endpoint.close()

    def booked(self):
        text = self.get("/v1/costs?by=direction", "prometheus")
        return {row["direction"]: row["bytes"] for row in json.loads(text)["rows"]}

    def tokens(self):
        table = self.bash("flowcost serve token list --format json")
        return {row["name"]: row for row in json.loads(table)}


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    if made.process:
        made.process.kill()
        made.process.wait()


@pytest.mark.skipif(any(shutil.which(one) is None for one in NEEDED), reason="needs openssl, curl")
def test_every_command_of_the_page_runs_in_its_order(machine):
    expected = {"transmit": 1100, "receive": 1100}
    for line in lines():
        here = machine.here(line)
        if line.startswith("flowcost serve --"):
            parsed(line.split()[1:])
        elif line.startswith("systemctl"):
            machine.systemctl(line.split()[1])
        elif line.startswith("flowcost agent"):
            machine.systemctl("start")
            machine.agent(here)
            machine.wait(lambda: machine.booked() == expected)
        elif line.startswith("flowcost serve token rotate ID"):
            old, before = machine.tokens()["prod-agents"]["id"], machine.secret("prod")
            machine.bash(here.replace("ID", old))
        elif line.startswith("flowcost serve token revoke ID"):
            assert machine.secret("prod") != before
            machine.bash(here.replace("ID", old))
        else:
            said = machine.bash(here)
            if line.startswith("flowcost costs"):
                assert "cross_az" in said
            if "/v1/health" in line:
                assert json.loads(said)["waiting"] == 0
        if line.startswith("rm -r"):
            assert not (machine.folder / "var").exists()
    assert machine.booked() == expected
    assert machine.get("/v1/health", "prod") == 403  # an agent's token reads nothing


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.split()[0])
def test_a_toml_block_is_a_configuration(block, tmp_path):
    (tmp_path / "flowcost.toml").write_text(block)
    assert config.load(tmp_path / "flowcost.toml").ledger.path


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    [text] = blocks("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(text)
    command, *words = unit["Service"]["ExecStart"].split()
    assert command.endswith("/flowcost")
    parsed(words)
    verify = shutil.which("systemd-analyze")
    if verify:
        path = tmp_path / "flowcost.service"
        path.write_text(text.replace(command, sys.executable).replace("User=flowcost\n", ""))
        done = subprocess.run(
            [verify, "verify", str(path)], capture_output=True, text=True, check=False, timeout=60
        )
        said = [line for line in done.stderr.splitlines() if "flowcost.service" in line]
        assert said == []


def test_the_manifests_fit_together():
    found = {one["kind"]: one for one in yaml.safe_load_all(blocks("yaml")[1])}
    assert set(found) == {"ConfigMap", "PersistentVolumeClaim", "Service", "Deployment"}
    spec = found["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    parsed(container["args"])
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert set(mounts.values()) == {one["name"] for one in pod["volumes"]}
    text = found["ConfigMap"]["data"]["flowcost.toml"]
    for place in re.findall(r'= "(/[^"]+)"', text):
        assert any(place.startswith(f"{one}/") for one in mounts), place
    [port] = container["ports"]
    assert f":{port['containerPort']}" in text
    assert found["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    labels = spec["template"]["metadata"]["labels"]
    assert labels == spec["selector"]["matchLabels"] == found["Service"]["spec"]["selector"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_the_manifests_configuration_loads(tmp_path):
    found = {one["kind"]: one for one in yaml.safe_load_all(blocks("yaml")[1])}
    path = tmp_path / "flowcost.toml"
    path.write_text(found["ConfigMap"]["data"]["flowcost.toml"])
    assert config.load(path).clusters[0].in_cluster


def test_every_metric_named_is_served():
    rules = blocks("yaml")[0]
    served = {one.name for one in series.ALL}
    assert yaml.safe_load(rules)["groups"][0]["rules"]
    named = set(re.findall(r"flowcost_[a-z_]+", rules))
    assert named
    assert named <= served, named - served


def test_reasons_are_those_that_the_code_says():
    code = " ".join(path.read_text() for path in (ROOT / "src" / "flowcost").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    rows = re.findall(r"^\| (`[^|]+`) \|", TEXT.partition("Is it well?")[2], re.MULTILINE)
    reasons = [one for row in rows[:8] for one in re.findall(r"`([^`]+)`", row)]
    assert len(reasons) > 8
    for reason in reasons:
        for part in reason.split("…"):
            if part.strip(" :,"):
                assert part.strip(" :,") in code or part.strip() == "database or disk is full", part
