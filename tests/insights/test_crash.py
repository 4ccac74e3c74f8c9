"""`flowcost serve` is killed while it tells somebody: told again, and still one incident."""

import json
import signal
from datetime import timedelta

from tests.server.posting import both_ends
from tests.server.test_process import booked, eventually, get, post, served

from flowcost import clock

CONFIG = """
[ledger]
path = "ledger"
[live]
every = "1s"
[signals]
every = "1s"
budgets = "team:storefront=0.01"
[[signals.webhooks]]
url = "{hook}"
secret = {{ file = "secret" }}
"""
NONE_WAITS = 'flowcost_signals_waiting{destination="webhook",tenant="default"} 0.0'


def test_a_kill_during_a_delivery_repeats_the_message_and_not_the_incident(tmp_path, hook):
    (tmp_path / "secret").write_text("sixteen bytes at least")
    (tmp_path / "flowcost.toml").write_text(CONFIG.format(hook=hook.url))
    arguments = ("--config", str(tmp_path / "flowcost.toml"))
    hour = clock.hour_of(clock.now() - timedelta(minutes=5))

    def send(url, number):
        for one in both_ends(number, 2 << 30, at=number, hour=hour):
            assert post(url, one)[0] == 200

    hook.free.clear()
    with served(*arguments) as (process, url):
        send(url, 1)
        eventually(lambda: hook.got)  # it has the message, and we do not know
        process.kill()
        process.wait(20)
    hook.free.set()
    for number in (2, 3):  # more is spent, and we begin anew each time
        with served(*arguments) as (process, url):
            before = booked(url).get("transmit", 0)
            send(url, number)
            eventually(lambda url=url, before=before: booked(url).get("transmit", 0) > before)
            eventually(lambda url=url: NONE_WAITS in get(f"{url}/metrics")[1])
            (incident,) = json.loads(get(f"{url}/v1/incidents")[1])["incidents"]
            assert incident["signals"] == 1
            assert incident["target"] == "team:storefront"
            process.send_signal(signal.SIGKILL if number == 2 else signal.SIGTERM)
            process.wait(30)
    assert len(hook.got) == 2
    first, second = ((headers["webhook-id"], body) for _, headers, body in hook.got)
    assert first == second
