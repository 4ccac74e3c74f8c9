"""Write the AWS part of an inventory from a live account, by read-only calls.

One session is one account. The calls are those of `aws_operations.OPERATIONS`, and the permission
they need is generated from the same table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from flowcost.clock import iso
from flowcost.errors import NotPermittedError
from flowcost.resolve.aws_operations import OPERATIONS, Operation
from flowcost.resolve.aws_session import REGIONS_PERMISSION, RefusedError, Session
from flowcost.resolve.files import Written

_WORKERS = 8


def policy() -> str:
    """Return the smallest IAM policy that lets a snapshot be taken, as JSON."""
    actions = sorted({one.permission for one in OPERATIONS} | {REGIONS_PERMISSION})
    statement = {
        "Sid": "FlowcostSnapshot",
        "Effect": "Allow",
        "Action": actions,
        # Describe calls cannot be limited to a resource (Service Authorization Reference), and
        # which lists and tables there are is only known from them.
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def take(
    directory: Path,
    *,
    profile: str = "",
    regions: Iterable[str] = (),
    endpoint_url: str = "",
    progress: Callable[[str], None] = lambda _line: None,
) -> list[Written]:
    """Write `directory/aws/<account>/<region>/…` and return what was written.

    `regions` empty means the profile's own region, `all` every region the account has enabled.

    Raises:
        NotSupportedError: the extra `aws` is not installed.
        NotPermittedError: there are no credentials, or calls were refused (all are named).
        UnreachableError: AWS cannot be reached or answers with an error.
    """
    with Session(profile, endpoint_url) as session:
        account = session.account()
        written: list[Written] = []
        refused: set[str] = set()
        for region in _regions(session, list(regions), refused):
            home = directory / "aws" / account / region
            home.mkdir(parents=True, exist_ok=True)
            progress(f"{account}/{region}")
            written += _region(session, region, home, refused)
    if refused:
        raise NotPermittedError(
            f"account {account} refuses: {', '.join(sorted(refused))}",
            hint="`flowcost snapshot --print-policy` prints the policy to attach",
        )
    return written


def _regions(session: Session, wanted: list[str], refused: set[str]) -> list[str]:
    try:
        return session.regions(wanted)
    except RefusedError:
        refused.add(REGIONS_PERMISSION)
        return []


def _region(session: Session, region: str, home: Path, refused: set[str]) -> list[Written]:
    with ThreadPoolExecutor(_WORKERS) as pool:

        def call(job: tuple[Operation, str]) -> Written | None:
            operation, value = job
            try:
                answer = session.call(operation, region, value)
            except RefusedError:
                refused.add(operation.permission)
                return None
            name = f"{operation.name}/{value}.json" if value else f"{operation.name}.json"
            path = home / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(answer, indent=1, default=_text), encoding="utf-8")
            return Written(path, len(answer.get(operation.key, [])))

        plain = list(pool.map(call, ((one, "") for one in OPERATIONS if not one.each)))
        return [one for one in (*plain, *pool.map(call, _each(home))) if one]


def _each(home: Path) -> Iterator[tuple[Operation, str]]:
    """Yield the calls that are made once per thing in an earlier answer."""
    keys = {one.name: one.key for one in OPERATIONS}
    for operation in OPERATIONS:
        if operation.each:
            listing, field = operation.each
            path = home / f"{listing}.json"
            things = json.loads(path.read_text())[keys[listing]] if path.exists() else []
            for thing in things:
                yield operation, thing[field]


def _text(value: object) -> str:
    return iso(value) if isinstance(value, datetime) else str(value)
