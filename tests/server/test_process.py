"""`flowcost serve` as a process: it answers, books what is posted, and ends when it is told to."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from flowcost import clock, segment
from tests.server.posting import both_ends

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


def post(url, one):
    """Post a segment as an agent does; return the status and what was said."""
    request = urllib.request.Request(
        f"{url}/v1/segments",
        segment.deflate(segment.encode(one)),
        {"content-type": segment.CONTENT_TYPE, "content-encoding": "deflate"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def booked(url):
    """Return the bytes by direction that the API tells."""
    status, text = get(f"{url}/v1/costs?by=direction")
    assert status == 200
    return {row["direction"]: row["bytes"] for row in json.loads(text)["rows"]}


def eventually(check, seconds=60):
    """Wait until `check()` holds."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "too late"
        time.sleep(0.3)


def test_what_is_posted_is_told_by_the_api_and_outlives_the_process(tmp_path):
    hour = clock.hour_of(datetime.now(UTC) - timedelta(minutes=5))
    arguments = ("--ledger", str(tmp_path / "ledger"))
    with served(*arguments) as (process, url):
        for number in range(3):
            for one in both_ends(number, 1000, at=number, hour=hour):
                expected = {"acknowledged": [one.epoch, one.sequence]}
                assert post(url, one) == (200, expected)
        eventually(lambda: booked(url) == {"receive": 3300, "transmit": 3300})
        one = both_ends(9, 1000, at=20, hour=hour)[0]
        assert post(url, one)[0] == 200
        process.kill()
    with served(*arguments) as (process, url):
        eventually(lambda: booked(url) == {"receive": 3400, "transmit": 4300})
        assert post(url, one)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_api_tells_minutes_that_add_up_to_their_hour(tmp_path):
    hour = clock.hour_of(datetime.now(UTC) - timedelta(minutes=5))
    with served("--ledger", str(tmp_path / "ledger")) as (_, url):
        for number in range(3):
            for one in both_ends(number, 1000, at=70 * number, hour=hour):
                assert post(url, one)[0] == 200
        eventually(lambda: booked(url) == {"receive": 3300, "transmit": 3300})
        asked = f"{url}/v1/trends?step=minute&last=2h&by=direction"
        rows, page = [], json.loads(get(f"{asked}&limit=4")[1])
        while True:
            rows += [(row["minute"], row["direction"], row["bytes"]) for row in page["rows"]]
            if page["next"] is None:
                break
            page = json.loads(get(f"{asked}&limit=4&cursor={page['next']}")[1])
        assert rows == [
            (clock.iso(hour + timedelta(minutes=minute)), direction, 1100)
            for minute in range(3)
            for direction in ("receive", "transmit")
        ]
        with pytest.raises(urllib.error.HTTPError, match="400"):
            get(f"{url}/v1/trends?step=minute&last=30d")


def test_one_ledger_has_one_server(tmp_path):
    ledger = str(tmp_path / "ledger")
    taken = pytest.raises(AssertionError, match="served by another")
    with served("--ledger", ledger), taken, served("--ledger", ledger):
        pass
