"""CloudWatch Logs: flow records as messages inside JSON.

Three shapes: the subscription envelope `{messageType, owner, logGroup, logStream, logEvents:
[{id, timestamp, message}]}` (Firehose and Lambda deliver many, one after another without a
separator, and gzip each), and the output of `filter-log-events` and `get-log-events`
(`{events: [{message}]}`). A control message carries no record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flowcost.errors import SourceError

_DECODER = json.JSONDecoder()


def messages(data: bytes, where: str) -> bytes:
    """Return the records in `data`, one per line.

    Raises:
        SourceError: not JSON, or JSON without log events.
    """
    try:
        text = data.decode()
        documents = list(_documents(text))
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{where}: not CloudWatch Logs JSON ({error})",
            hint="expected subscription envelopes or the output of filter-log-events",
        ) from None
    lines: list[str] = []
    for document in documents:
        if not isinstance(document, dict):
            raise SourceError(f"{where}: JSON without log events")
        if document.get("messageType") == "CONTROL_MESSAGE":
            continue
        events = document.get("logEvents", document.get("events"))
        if not isinstance(events, list):
            raise SourceError(
                f"{where}: JSON without log events",
                hint="expected a key logEvents or events, each with a message",
            )
        for event in events:
            message = event.get("message") if isinstance(event, dict) else None
            # A newline inside a message would become two records; one broken record it stays.
            lines.append(str(message).replace("\n", " ").strip())
    return "".join(f"{line}\n" for line in lines).encode()


def _documents(text: str) -> Iterator[Any]:
    """Yield the JSON documents that follow one another in `text`."""
    position = 0
    while True:
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        if position == len(text):
            return
        document, position = _DECODER.raw_decode(text, position)
        if isinstance(document, list):
            yield from document
        else:
            yield document
