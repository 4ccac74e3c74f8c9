"""What an object store answers, in the operator's words: bucket, key, and the way out.

Codes are those of the S3 API Reference, "Error responses".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flowcost.errors import (
    FlowcostError,
    NotPermittedError,
    SourceError,
    UnreachableError,
    UsageError,
)

_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_DENIED = {"AccessDenied", "AllAccessDisabled", "Forbidden"}
_UNKNOWN_CALLER = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_ELSEWHERE = {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"}


class GoneError(Exception):
    """An object that was listed is no longer there, or no longer the same: data, not trouble."""


@contextmanager
def worded(url: str, permission: str) -> Iterator[None]:
    """Turn obstore's errors into the operator's, naming the object and the permission it needs.

    Raises:
        GoneError: there is no such object, or it was replaced.
        SourceError: there is no such bucket, or a key that obstore cannot spell.
        UsageError: the bucket is in another region.
        NotPermittedError: the caller is unknown or may not.
        UnreachableError: anything else that the store or the network says.
    """
    from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra, loaded when used

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise _missing(error, url) or _refused(error, url, permission) from None


def _missing(error: Exception, url: str) -> FlowcostError | GoneError | None:
    code = _code(error)
    bucket = "/".join(url.split("/")[:3])
    if code == "NoSuchBucket":
        return SourceError(f"{bucket}: no such bucket", hint="check its name and --endpoint-url")
    if isinstance(error, FileNotFoundError) or code == "NoSuchKey":
        return GoneError(f"{url}: no longer there")
    if "empty path segment" in str(error):
        return SourceError(
            f"{url}: {str(error).splitlines()[0]}",
            hint="keys with an empty folder name (//) cannot be read: name folders without any",
        )
    if type(error).__name__ == "PreconditionError":
        return GoneError(f"{url}: replaced since it was listed")
    return None


def _refused(error: Exception, url: str, permission: str) -> FlowcostError:
    text, code = str(error), _code(error)
    found = _MESSAGE.search(text)
    said = found[1].strip() if found else text.splitlines()[0]
    if code in _ELSEWHERE or "redirect" in text:
        return UsageError(
            f"{url}: the bucket is in another region ({said})",
            hint="name its region with --region or AWS_REGION",
        )
    if code in _UNKNOWN_CALLER or type(error).__name__ == "UnauthenticatedError":
        return NotPermittedError(f"{url}: {code or 'not signed in'}: {said}", hint="sign in again")
    if code in _DENIED or "403 Forbidden" in text:
        return NotPermittedError(
            f"{url}: access denied",
            hint=f"allow {permission} there (and kms:Decrypt if it is encrypted with a key)",
        )
    return UnreachableError(f"{url}: {said}", hint="check the network and --endpoint-url")


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""
