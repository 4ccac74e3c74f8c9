"""The console's files: our scripts and styles, and what others wrote (VENDORED.toml).

An address carries a hash of the content, so a browser keeps a file for ever and never keeps a
stale one.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
SERVED = frozenset(
    {
        "charts.js",
        "console.css",
        "console.js",
        "echarts.NOTICE.txt",
        "echarts.min.js",
        "favicon.svg",
        "flowcost.css",
        "htmx.LICENSE.txt",
        "htmx.min.js",
    }
)


@cache
def content(name: str) -> tuple[bytes, bytes, str]:
    """Return a served file, the same gzipped, and the hash in its address."""
    plain = (files("flowcost.views") / "static" / name).read_bytes()
    digest = hashlib.sha256(plain).hexdigest()[:12]
    return plain, gzip.compress(plain, mtime=0), digest


def asset(name: str) -> str:
    """Return the address of a file, with the hash of its content."""
    return f"/static/{name}?h={content(name)[2]}"


def static(request: Request) -> Response:
    """Answer with one of the served files."""
    name = request.path_params["name"]
    if name not in SERVED:
        return Response("nothing there\n", 404, media_type="text/plain")
    plain, zipped, digest = content(name)
    fresh = request.query_params.get("h") == digest
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if fresh else "no-cache",
        "ETag": f'"{digest}"',
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    body = plain
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = zipped, "gzip"
    return Response(body, headers=headers, media_type=TYPES[name.rpartition(".")[2]])


ROUTES = [Route("/static/{name}", static)]
