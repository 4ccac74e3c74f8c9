"""Requests that another site made a browser send are refused before they change anything.

Cookies, a proxy's sign-in and an open server all answer for whoever sends: a browser says where a
request comes from (`Sec-Fetch-Site`, else `Origin`), and only our own pages may change things.
Programs send neither header and carry their token on purpose.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flowcost.access.asking import Asking
from flowcost.access.place import is_loopback
from flowcost.errors import ForbiddenError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def refuse_other_sites(asking: Asking, public_url: str = "") -> None:
    """Refuse an unsafe request that comes from a page of another site.

    Raises:
        ForbiddenError: it does.
    """
    if asking.method in SAFE:
        return
    site = asking.one("sec-fetch-site")
    origin = asking.one("origin")
    if site:
        allowed = site in ("same-origin", "none")
    elif origin:
        hosts = {asking.one("host"), urlsplit(public_url).netloc} - {""}
        allowed = urlsplit(origin).netloc in hosts
    else:
        allowed = True
    if not allowed:
        raise ForbiddenError("a page of another site sent this", hint="use this server's own pages")


def refuse_other_names(asking: Asking) -> None:
    """Refuse a request to an open server under a name that is not this machine's.

    A page can make its own name point here (DNS rebinding) and would then read everything.

    Raises:
        ForbiddenError: the name is another one.
    """
    host = urlsplit(f"//{asking.one('host')}").hostname or ""
    if host and not is_loopback(host):
        raise ForbiddenError(
            f"this server is open to its own machine only, not as {host[:100]}",
            hint="configure [access], or ask 127.0.0.1",
        )
