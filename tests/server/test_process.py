"""`flowcost serve` as a process: it answers, and ends when it is told to."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

ENVIRONMENT = {name: value for name, value in os.environ.items() if "FLOWCOST" not in name}


@contextmanager
def served(*arguments):
    """Run the server on a free port; yield (process, URL); end it."""
    command = [sys.executable, "-m", "flowcost", "serve", "--listen", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        said = ""
        for line in process.stderr:
            said += line
            found = re.search(r"serving on (\S+)", line)
            if found:
                break
        else:
            raise AssertionError(said)
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read().decode()


def test_it_answers_and_ends_in_order(tmp_path):
    with served("--ledger", str(tmp_path / "ledger")) as (process, url):
        assert get(f"{url}/healthz") == (200, "ok\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "drained and stopped" in process.stderr.read()
