"""What a shell offers for a filter is what the API and the console offer."""

import os
import pty
import re
import select
import shutil
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.api.conftest import Door, app_of
from tests.api.running import running

from flowcost.cli import main
from flowcost.ledger.query import Selection
from flowcost.views.completions import completions


def offered(*words, shell="bash", typed=""):
    """Return what the shell is offered for the last of `words`, of which the cursor is at the end.

    `typed` is the line as it stands in the shell where quotes matter.
    """
    line = typed or "\n".join(["flowcost", *words])
    environment = {
        "_FLOWCOST_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
    }
    done = CliRunner().invoke(main, [], prog_name="flowcost", env=environment)
    assert done.exit_code in (0, 1), done.output
    return [text.removeprefix("plain,") for text in done.stdout.splitlines() if text]


def filters(shop, text, *more, quote='"'):
    words = ("costs", "--ledger", str(shop.root), *more, "--filter", text)
    line = "\n".join(["flowcost", *words[:-1], f"{quote}{text}"])
    return offered(*words, typed=line)


@pytest.mark.parametrize(
    "text", ["", "pa", "path", "path ", "path = ", "owner.team = pay", "path = cross_az and k8s.n"]
)
def test_a_filter_is_completed_as_everywhere(shop, text):
    everywhere = completions(shop, Selection(tenant=None), text, len(text))
    expected = [
        (text[: one.start] + one.text).replace('"', "'")
        for one in everywhere
        if one.text.startswith(text[one.start :])
    ]
    assert expected
    if len(expected) > 1:
        assert filters(shop, text) == expected
    else:
        assert filters(shop, text)[0].startswith(expected[0])


def test_a_step_with_one_choice_is_taken(shop):
    assert filters(shop, "usage_t")[:2] == ["usage_type =", "usage_type !="]
    assert filters(shop, "path = cross_a") == ["path = cross_az"]


@pytest.mark.parametrize(("quote", "other"), ["\"'", "'\""], ids=["double", "single"])
def test_a_value_in_quotes_stands_in_those_that_the_shell_left_over(shop, quote, other):
    found = filters(shop, f"conversation = {other}internet", quote=quote)
    assert found == [f"conversation = {other}internet <-> shop/cart{other}"]


def test_without_quotes_bash_is_given_them(shop):
    words = ("costs", "--ledger", str(shop.root), "--filter", "usage_t")
    assert offered(*words)[0] == "'usage_type ='"
    assert "usage_type =" in offered(*words, shell="zsh")


def test_values_are_those_of_the_tenant(shop):
    assert filters(shop, "owner.team = pay", "--tenant", "t1") == ["owner.team = payments"]
    assert not any("payments" in text for text in filters(shop, "owner.team = ", "--tenant", "t9"))


def test_a_server_completes_what_its_token_may_see(shop, tmp_path):
    door = Door(tmp_path / "door")
    try:
        with running(app_of(shop, door.gate)) as url:
            for who, expected in (("viewer", 4), ("payments", 1)):
                token = tmp_path / who
                token.write_text(door.tokens[who])
                server = ("--server", url, "--token-file", str(token))
                assert len(filters(shop, "path = ", *server)) >= expected
            assert filters(shop, "path = ", *server) == ["path = cross_az"]
    finally:
        door.gate.close()


def test_what_cannot_be_asked_is_not_completed(shop, tmp_path):
    words = ("costs", "--ledger", str(tmp_path / "none"), "--filter", "pa")
    assert offered(*words) == []
    assert filters(shop, "path = ", "--server", "http://127.0.0.1:9") == []
    assert filters(shop, "path = ", "--server", "ftp://example.org") == []


def test_group_keys_are_completed_one_after_the_other():
    assert offered("costs", "--by", "usage") == ["usage_type"]
    assert "path,owner.team" in offered("costs", "--by", "path,own")
    assert "path,path" not in offered("costs", "--by", "path,pa")


def test_rows_are_sorted_by_what_they_have():
    words = ("costs", "--by", "path,day", "--sort")
    assert offered(*words, "") == ["-list_cost", "-bytes", "-unpriced_bytes", "path", "day"]
    assert offered(*words, "un") == ["-unpriced_bytes"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_a_real_bash_completes_and_the_line_runs(shop):
    with Bash(FLOWCOST__LEDGER__PATH=str(shop.root)) as bash:
        bash.types('eval "$(_FLOWCOST_COMPLETE=bash_source flowcost)"; echo rea""dy\n')
        bash.shows("ready")
        bash.types('flowcost costs --format csv --filter "usage_t\t')
        bash.shows("usage_type ")
        bash.types("= DataTransfer-R\t")
        bash.shows('DataTransfer-Regional-Bytes" ')  # the only choice: bash ends the word
        bash.types("\n")
        bash.shows(r"cross_az,\d+,")


class Bash:
    """A bash at a terminal of its own."""

    def __init__(self, **environment):
        self.environment = environment

    def __enter__(self):
        scripts = str(Path(sys.executable).parent)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            kept = {"PATH": f"{scripts}:{os.environ['PATH']}", "TERM": "dumb", "HOME": "/"}
            os.execve(
                shutil.which("bash"),
                ["bash", "--norc", "--noprofile", "-i"],
                {**kept, "LC_ALL": "C.UTF-8", "INPUTRC": "/dev/null", **self.environment},
            )
        self.shown = ""
        return self

    def __exit__(self, *_):
        os.close(self.terminal)  # which hangs up on it
        os.waitpid(self.pid, 0)

    def types(self, text):
        self.shown = ""
        os.write(self.terminal, text.encode())

    def shows(self, pattern, seconds=60):
        """Wait until the terminal shows it."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, repr(self.shown)
            if select.select([self.terminal], [], [], 0.2)[0]:
                self.shown += os.read(self.terminal, 65536).decode().replace("\a", "")
