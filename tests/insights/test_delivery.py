"""Deliveries over real sockets: signed, at least once, never to elsewhere, and nothing leaks."""

import ast
import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from tests.insights.conftest import JUNE, Watch
from tests.insights.receiver import receiver

import flowcost
from flowcost.errors import LedgerError, UsageError
from flowcost.insights.destinations import Signals, Slack, Webhook, signature
from flowcost.insights.signal_store import SignalStore
from flowcost.secret import Secret

SECRET = "a secret of enough bytes"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return Secret(file=path)


@pytest.fixture
def signalled(books, hook, secret):
    """Return a watch with one webhook whose budget is exceeded; no round was made yet."""
    watch = Watch(
        books, Signals(webhooks=(Webhook(url=f"{hook.url}/cost", secret=secret, tenant="t1"),))
    )
    books.send(20, JUNE)
    yield watch
    watch.alerting.stop()


def destination(watch):
    (found,) = watch.alerting.destinations("t1")
    return found


def test_a_webhook_gets_the_signal_once_signed(signalled, hook):
    signalled.round()
    signalled.round()
    signalled.restart()
    signalled.wait(days=1)
    signalled.round()
    ((path, headers, body),) = hook.got
    assert path == "/cost"
    assert headers["content-type"] == "application/json"
    sent = json.loads(body)
    (incident,) = signalled.incidents()
    assert sent["incident"] == incident.id
    assert headers["webhook-id"] == sent["id"]
    assert headers["webhook-signature"] == signature(
        SECRET, sent["id"], headers["webhook-timestamp"], body
    )
    assert sent["tenant_id"] == "t1"
    assert sent["plane"] == "cost"
    assert sent["kind"] == "cost.budget_exceeded"
    assert sent["attributes"]["cost.spent_usd"] == "0.20"
    assert sent["occurred_at"] == "2026-06-30T21:00:00Z"


def test_the_signature_is_that_of_the_standard():
    """The example of the Standard Webhooks specification."""
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("bad", ["tiny", "whsec_!!!", "whsec_c2hvcnQ="])
def test_a_weak_or_broken_secret_is_no_secret(bad):
    with pytest.raises(ValueError, match="the secret is") as caught:
        signature(bad, "m", "1", b"")
    assert bad not in str(caught.value)


def test_a_receiver_that_is_down_gets_it_when_it_is_back(books, secret):
    with receiver() as gone:
        url = gone.url
    watch = Watch(books, Signals(webhooks=(Webhook(url=url, secret=secret, tenant="t1"),)))
    books.send(20, JUNE)
    watch.round()
    assert destination(watch).trouble == "ConnectError"
    assert destination(watch).waiting == 1
    watch.restart()  # the outbox outlives us
    port = int(url.rpartition(":")[2])
    with receiver(port) as back:
        watch.round()
        assert back.got == []  # not before its time
        watch.wait(seconds=10)
        watch.round()
        assert len(back.got) == 1
        watch.wait(days=1)
        watch.round()
        assert len(back.got) == 1
    assert destination(watch).waiting == 0
    watch.alerting.stop()


def test_pauses_grow_to_an_hour_and_a_wish_to_wait_is_heeded(signalled, hook):
    hook.answers = [(500, {})] * 12 + [(503, {"retry-after": "1800"})]
    signalled.round()
    pauses = []
    while hook.answers:
        (waiting,) = signalled.alerting.store.waiting()
        pauses.append((waiting.due - signalled.time).total_seconds())
        signalled.time = waiting.due
        signalled.round()
    assert pauses[:4] == [10, 20, 40, 80]
    assert pauses[-1] == 3600
    assert max(pauses) == 3600
    (waiting,) = signalled.alerting.store.waiting()
    assert waiting.trouble == "HTTP 503"
    assert waiting.due - signalled.time == timedelta(hours=1)


def test_a_wish_to_wait_is_not_endless(signalled, hook):
    hook.answers = [(429, {"retry-after": "999999"})]
    signalled.round()
    (waiting,) = signalled.alerting.store.waiting()
    assert waiting.due - signalled.time == timedelta(hours=1)


def test_an_answer_that_is_lost_means_the_same_id_again(signalled, hook):
    """The receiver had it and said 500: it gets it again, and can tell."""
    hook.answers = [(500, {})]
    signalled.round()
    signalled.wait(seconds=10)
    signalled.round()
    first, second = hook.got
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert first[2] == second[2]


def test_a_crash_between_delivery_and_its_record_delivers_again(signalled, hook, monkeypatch):
    class CrashError(Exception):
        pass

    def crash(*_):
        raise CrashError

    monkeypatch.setattr(SignalStore, "delivered", crash)
    with pytest.raises(CrashError):
        signalled.round()
    monkeypatch.undo()
    signalled.restart()
    assert len(signalled.round()) == 1
    first, second = hook.got
    assert first[1]["webhook-id"] == second[1]["webhook-id"]


def test_a_redirect_is_not_followed(signalled, hook):
    with receiver() as elsewhere:
        hook.answers = [(307, {"location": f"{elsewhere.url}/stolen"})]
        signalled.round()
        assert elsewhere.got == []
    assert destination(signalled).trouble == "HTTP 307: redirects are not followed"
    assert destination(signalled).waiting == 1


def test_one_destination_in_trouble_does_not_hold_up_another(books, hook, secret, tmp_path):
    with receiver() as gone:
        dead = gone.url
    slack_url = tmp_path / "slack"
    slack_url.write_text(f"{hook.url}/services/T000/B000/XXXX")
    settings = Signals(
        webhooks=(Webhook(url=dead, secret=secret, tenant="t1"),),
        slack=(Slack(url=Secret(file=slack_url), tenant="t1"),),
    )
    watch = Watch(books, settings)
    books.send(20, JUNE)
    watch.round()
    ((path, _, body),) = hook.got
    assert path == "/services/T000/B000/XXXX"
    text = json.loads(body)["text"]
    assert "*Budget exceeded: team payments*" in text
    assert "$0.20" in text
    assert [
        (d.name, d.waiting, d.delivered, d.failed) for d in watch.alerting.destinations("t1")
    ] == [
        ("webhook", 1, 0, 1),
        ("slack", 0, 1, 0),
    ]
    watch.alerting.stop()


def test_no_secret_is_ever_logged_or_kept(books, hook, secret, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    slack_url = tmp_path / "slack"
    slack_url.write_text(f"{hook.url}/services/HUSH")
    settings = Signals(
        webhooks=(Webhook(url=hook.url, secret=secret, tenant="t1"),),
        slack=(
            Slack(url=Secret(file=slack_url), tenant="t1"),
            Slack(url=Secret(env="NOT_SET"), name="other", tenant="t1"),
        ),
    )
    hook.answers = [(500, {})] * 2
    watch = Watch(books, settings)
    books.send(20, JUNE)
    watch.round()
    watch.alerting.store.close()
    written = b"".join(p.read_bytes() for p in (books.ledger.root / ".serve").iterdir())
    told = str(watch.alerting.deliveries._troubles)
    for secret_text in (SECRET, "HUSH"):
        assert secret_text not in caplog.text
        assert secret_text.encode() not in written
        assert secret_text not in told
    assert "NOT_SET" in told


def test_a_secret_can_be_put_right_while_we_run(signalled, hook, tmp_path):
    (tmp_path / "secret").unlink()
    signalled.round()
    assert hook.got == []
    assert "secret" in destination(signalled).trouble
    (tmp_path / "secret").write_text(SECRET)
    signalled.wait(seconds=10)
    signalled.round()
    assert len(hook.got) == 1


def test_what_is_no_longer_configured_is_no_longer_waited_for(signalled, hook):
    hook.answers = [(500, {})]
    signalled.round()
    assert len(signalled.alerting.store.waiting()) == 1
    signalled.settings = Signals()
    signalled.restart()
    assert signalled.alerting.store.waiting() == []


def test_destinations_have_one_name_each_and_an_address(secret):
    with pytest.raises(ValueError, match="once: webhook"):
        Signals(webhooks=(Webhook(url="http://a", secret=secret, tenant="t1"),) * 2)
    for bad in ("ftp://a", "a/b", "http://", "file:///etc/passwd"):
        with pytest.raises(ValueError, match="address"):
            Webhook(url=bad, secret=secret, tenant="t1")


def test_incidents_are_moved_by_people_with_their_names(signalled):
    (incident,) = signalled.round()
    move = signalled.alerting.move
    assert move("t1", incident.id, "acknowledged", who="ann").state == "acknowledged"
    with pytest.raises(UsageError, match="with a reason"):
        move("t1", incident.id, "dismissed", who="ann", reason="  ")
    with pytest.raises(UsageError, match="unknown state"):
        move("t1", incident.id, "throttled", who="ann")
    assert move("t2", incident.id, "resolved", who="eve") is None
    found = move("t1", incident.id, "dismissed", who="bob", reason="moved to another team")
    assert [(c.who, c.state, c.reason) for c in found.changes[1:]] == [
        ("ann", "acknowledged", ""),
        ("bob", "dismissed", "moved to another team"),
    ]
    signalled.restart()
    assert signalled.incidents() == [found]
    assert signalled.alerting.incidents("t1", states=("open",)) == []
    assert signalled.alerting.incidents("t2") == []


def test_a_file_of_another_version_is_refused(tmp_path):
    path = tmp_path / "signals.sqlite"
    store = SignalStore(path)
    store._db.execute("PRAGMA user_version = 7")
    store.close()
    with pytest.raises(LedgerError, match="another version"):
        SignalStore(path)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="cannot be opened"):
        SignalStore(path)


def test_the_thread_looks_and_delivers_by_itself(signalled, hook):
    signalled.alerting.start()
    deadline = 100
    while not hook.got and deadline:
        signalled.alerting._stopping.wait(0.1)
        deadline -= 1
    assert len(hook.got) == 1


def test_signals_only():
    """Nothing that watches budgets can slow, block or change traffic or a bill."""
    rooms = [Path(flowcost.__file__).parent / room for room in ("insights", "views")]
    files = [file for room in rooms for file in room.rglob("*.py")]
    assert len(files) > 10
    # What could act on the world: the kernel, the cloud, the cluster, other programs.
    acting = {"subprocess", "ctypes", "boto3", "botocore", "kubernetes", "lightkube", "socket"}
    for file in files:
        tree = ast.parse(file.read_text())
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in [a.name for a in node.names] + [getattr(node, "module", "") or ""]
        }
        assert not imported & acting, file
        calls = {n.func.attr for n in ast.walk(tree)
                 if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}  # fmt: skip
        assert not calls & {"system", "popen", "execv", "throttle", "block"}, file
