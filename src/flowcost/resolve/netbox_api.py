"""Write the NetBox part of an inventory from a live server's REST API.

Every page is fetched from the server that was named: a `next` link that leads elsewhere is an
error, so that the token is never sent to another host.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from flowcost.errors import NotPermittedError, UnreachableError, UsageError
from flowcost.resolve.files import Written

_LISTS = {"prefixes": "ipam/prefixes", "ip-addresses": "ipam/ip-addresses"}
_PAGE = 500
_TIMEOUT_SECONDS = 60
_ATTEMPTS = 4
_BUSY = {429, 502, 503, 504}
_REFUSED = {401, 403}
# Tokens of NetBox 4.5 and later begin with this and are sent as bearer tokens.
_NEW_TOKEN = "nbt_"  # noqa: S105 - a prefix, not a token


def take(
    directory: Path,
    url: str,
    token: str = "",
    *,
    progress: Callable[[str], None] = lambda _line: None,
) -> list[Written]:
    """Write `directory/netbox/{prefixes,ip-addresses}.json` and return what was written.

    `url` is the server's root (`https://netbox.example.com`).

    Raises:
        UsageError: `url` is not an http address.
        NotPermittedError: the server refuses the token.
        UnreachableError: the server cannot be reached, or does not answer as NetBox does.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise UsageError(f"{url!r} is not an http or https address")
    home = directory / "netbox"
    home.mkdir(parents=True, exist_ok=True)
    written = []
    for name, place in _LISTS.items():
        pages = []
        for page in _pages(f"{url.rstrip('/')}/api/{place}/?limit={_PAGE}", token):
            pages.append(page)
            progress(f"netbox/{name}: page {len(pages)}")
        path = home / f"{name}.json"
        path.write_text(json.dumps(pages, indent=1), encoding="utf-8")
        written.append(Written(path, sum(len(page["results"]) for page in pages)))
    return written


def _pages(url: str | None, token: str) -> Iterator[dict[str, Any]]:
    first = urlsplit(url or "")
    while url:
        if urlsplit(url)[:2] != first[:2]:
            raise UnreachableError(
                f"NetBox's next page is on another server: {url}",
                hint="name the server by the address it calls itself",
            )
        page = _get(url, token)
        if not isinstance(page, dict) or not isinstance(page.get("results"), list):
            raise UnreachableError(f"{url} does not answer as NetBox's REST API does")
        yield page
        url = page.get("next")


def _get(url: str, token: str) -> object:
    headers = {"Accept": "application/json"}
    if token:
        scheme = "Bearer" if token.startswith(_NEW_TOKEN) else "Token"
        headers["Authorization"] = f"{scheme} {token}"
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - the scheme was checked
                return json.load(answer)
        except HTTPError as error:
            with error:
                if error.code in _REFUSED:
                    raise NotPermittedError(
                        f"{url}: NetBox refuses the token ({error.code})",
                        hint="set FLOWCOST_NETBOX_TOKEN or --netbox-token-file",
                    ) from None
                if error.code not in _BUSY or attempt == _ATTEMPTS:
                    raise UnreachableError(f"{url}: {error.code} {error.reason}") from None
                wait = error.headers.get("Retry-After", "")
            time.sleep(float(wait) if wait.isdecimal() else 2**attempt)
        except URLError as error:
            raise UnreachableError(f"{url} cannot be reached: {error.reason}") from None
        except json.JSONDecodeError:
            raise UnreachableError(f"{url} does not answer as NetBox's REST API does") from None
    raise AssertionError
