"""Documents of one HTML file: style and scripts inside, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files


def render(template: str, *, scripts: Sequence[str] = (), **context: object) -> str:
    """Return a template as one document; `scripts` are names of static files to put inside."""
    import jinja2  # noqa: PLC0415 - 30 ms that other views do not need

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flowcost.views"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    static = files("flowcost.views") / "static"
    texts = [(static / name).read_text() for name in scripts]
    return environment.get_template(template).render(
        style=(static / "flowcost.css").read_text(),
        scripts=texts,
        script_hashes=_hashes(texts),
        **context,
    )


def _hashes(scripts: Sequence[str]) -> str:
    """Return the script sources of a Content-Security-Policy: these texts and no other."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
