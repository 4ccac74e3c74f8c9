"""`flowcost snapshot --netbox` against a recorded NetBox API served on loopback."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from flowcost.address import pack
from flowcost.cli.snapshot import command
from flowcost.clock import now
from flowcost.errors import NotPermittedError, UnreachableError, UsageError
from flowcost.resolve import inventory, netbox_api
from flowcost.resolve.lookup import lookup
from flowcost.resolve.timeline import build
from tests.resolve.loopback import serving
from tests.resolve.test_netbox import TEAM, address, prefix

TOKEN = "0123456789abcdef0123456789abcdef01234567"
RECORDS = {
    "/api/ipam/prefixes/": [prefix(f"10.{number}.0.0/16", tenant=TEAM) for number in range(5)],
    "/api/ipam/ip-addresses/": [address("10.3.0.7/16", custom_fields={"team": "vault"})],
}


class NetBox:
    """Answers as NetBox 4 does: pages by limit and offset, a token in the header."""

    def __init__(self, *, page: int = 2, elsewhere: str = "", busy: int = 0) -> None:
        self.page, self.elsewhere, self.busy = page, elsewhere, busy
        self.seen: list[str] = []

    def __call__(self, path: str, headers: dict[str, str]):
        if headers.get("Authorization") not in {f"Token {TOKEN}", "Bearer nbt_k.secret"}:
            return 403, {}, {"detail": "Invalid token"}
        if self.busy:
            self.busy -= 1
            return 429, {"Retry-After": "0"}, {"detail": "Request was throttled."}
        self.seen.append(path)
        url = urlsplit(path)
        records = RECORDS[url.path]
        offset = int(parse_qs(url.query).get("offset", ["0"])[0])
        after = offset + self.page
        host = self.elsewhere or f"http://{headers['Host']}"
        query = f"?limit={self.page}&offset={after}"
        body = {
            "count": len(records),
            "next": f"{host}{url.path}{query}" if after < len(records) else None,
            "previous": None,
            "results": records[offset:after],
        }
        return 200, {}, body


def test_every_page_of_a_live_netbox_is_written_and_resolves(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWCOST_NETBOX_TOKEN", TOKEN)
    server = NetBox()
    with serving(server) as url:
        result = CliRunner().invoke(
            command,
            [str(tmp_path / "inventory"), "--netbox", f"{url}/", "--format", "json"],
            catch_exceptions=False,
        )
    assert json.loads(result.output) == [
        {"file": "netbox/prefixes.json", "count": 5},
        {"file": "netbox/ip-addresses.json", "count": 1},
    ]
    assert len(server.seen) == 4
    resolution = build(inventory.read(tmp_path / "inventory"))
    assert lookup(resolution, pack("10.4.9.9"), now()).owner_team == "payments"
    assert lookup(resolution, pack("10.3.0.7"), now()).owner_team == "vault"


@pytest.mark.parametrize("token", [TOKEN, "nbt_k.secret"])
def test_the_token_comes_from_a_file_in_the_old_and_the_new_form(tmp_path, token, monkeypatch):
    monkeypatch.delenv("FLOWCOST_NETBOX_TOKEN", raising=False)
    (tmp_path / "token").write_text(f"{token}\n")
    options = ["--netbox-token-file", str(tmp_path / "token")]
    with serving(NetBox(page=50)) as url:
        arguments = [str(tmp_path / "inventory"), "--netbox", url, *options]
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0


def test_a_refused_token_is_named_and_a_busy_server_is_asked_again(tmp_path):
    with serving(NetBox()) as url, pytest.raises(NotPermittedError, match="refuses the token"):
        netbox_api.take(tmp_path, url, "wrong")
    with serving(NetBox(busy=2)) as url:
        assert [one.count for one in netbox_api.take(tmp_path, url, TOKEN)] == [5, 1]


def test_the_token_is_never_sent_to_another_server(tmp_path):
    other = NetBox()
    with serving(other) as stranger, serving(NetBox(elsewhere=stranger)) as url:
        with pytest.raises(UnreachableError, match="on another server"):
            netbox_api.take(tmp_path, url, TOKEN)
        assert other.seen == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"results": 7}'])
def test_a_server_that_is_not_netbox_is_named(tmp_path, body):
    with (
        serving(lambda _path, _headers: (200, {}, body)) as url,
        pytest.raises(UnreachableError, match="does not answer as NetBox"),
    ):
        netbox_api.take(tmp_path, url)


def test_no_server_and_no_address_are_told_apart(tmp_path):
    with serving(NetBox()) as url:
        pass
    with pytest.raises(UnreachableError, match="cannot be reached"):
        netbox_api.take(tmp_path, url)
    with pytest.raises(UsageError, match="file:"):
        netbox_api.take(tmp_path, "file:///etc/passwd")
