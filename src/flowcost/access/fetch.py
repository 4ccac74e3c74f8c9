"""Asking a provider over HTTP: bounded in time and size, never redirected.

A redirect is an answer from somebody the operator did not name, so it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowcost.errors import BusyError, UnauthenticatedError

TIMEOUT_S = 5.0
MOST_BYTES = 256 << 10


async def document(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Return the JSON object at `url`; with a `form`, the answer to posting it.

    Raises:
        UnauthenticatedError: what was posted is refused.
        BusyError: there is none, for whatever reason; it names the URL and no secret.
    """
    import httpx2  # noqa: PLC0415 - 100 ms that a server without a provider does not need

    content = b""
    try:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream(
                "GET" if form is None else "POST",
                url,
                data=form,
                auth=basic,
                headers={"accept": "application/json"},
            ) as answer,
        ):
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MOST_BYTES:
                    raise _trouble(url, f"answers more than {MOST_BYTES} bytes")
            status = answer.status_code
    except httpx2.HTTPError as error:
        raise _trouble(url, type(error).__name__) from None
    if form is not None and 400 <= status < 500:
        raise UnauthenticatedError("the provider refuses this sign-in", hint="try again")
    if status != 200:
        raise _trouble(url, f"answers {status}")
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _trouble(url, "answers something else than a JSON object") from None


def _trouble(url: str, what: str) -> BusyError:
    return BusyError(f"{url}: {what}", hint="sign-in needs the provider; tokens work without it")
