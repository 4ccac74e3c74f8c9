"""Flow logs in an object store: S3 and whatever speaks its protocol, through obstore.

Objects are listed into `LogFile`s and fetched whole to a local path; nothing is read from afar.
An object's version is its ETag, and it is fetched under the condition that it still has it, so
that what was listed is what is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from flowcost.errors import NotSupportedError, SourceError, UsageError
from flowcost.sources.discover import SUFFIXES, LogFile, describe
from flowcost.sources.object_errors import GoneError, worded

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Config, S3Store

SCHEME = "s3://"
PIECE = 8 << 20  # bytes held in memory of an object on its way to disk
SIGNED_FOR = timedelta(hours=6)


class Access(Struct, frozen=True, kw_only=True):
    """How to reach the store; empty fields follow the usual AWS environment.

    Attributes:
        endpoint: URL of a compatible store; `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`.
        region: of the bucket; `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's.
        profile: named profile of the AWS configuration; `AWS_PROFILE`.
    """

    endpoint: str = ""
    region: str = ""
    profile: str = ""


class Objects:
    """The buckets of one run. Safe for several threads."""

    def __init__(self, access: Access, folder: Path) -> None:
        """Say how to reach the buckets, and the folder that fetched objects will lie in."""
        self.access, self.folder = access, folder
        self._stores: dict[str, S3Store] = {}

    def files(self, location: str) -> Iterator[LogFile]:
        """Yield the flow logs below `s3://bucket/prefix`, or the one object of that name.

        A prefix is a folder: `logs` does not cover `logs-old/`.

        Raises:
            SourceError: there is no such bucket, or nothing at the prefix.
            NotPermittedError: the store refuses to list.
            UnreachableError: the store does not answer, or answers with an error.
        """
        bucket, key = split(location)
        store = self._store(bucket)
        listed = 0
        with worded(location, "s3:ListBucket"):
            import obstore  # noqa: PLC0415 - an extra, loaded when used

            for chunk in obstore.list(store, key or None, chunk_size=1000):
                for found in chunk:
                    listed += 1
                    file = self._file(bucket, found)
                    if file is not None:
                        yield file
        if not listed:
            yield self._single(location, store, bucket, key)

    def fetch(self, file: LogFile) -> None:
        """Write the object to `file.path`.

        Raises:
            GoneError: it was removed or replaced since it was listed.
            NotPermittedError: the store refuses to read it.
            UnreachableError: the store does not answer, or answers with an error.
        """
        bucket, key = split(file.name)
        store = self._store(bucket)
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with worded(file.name, "s3:GetObject"):
            import obstore  # noqa: PLC0415

            unchanged: GetOptions = {"if_match": file.version} if file.version.endswith('"') else {}
            answer = obstore.get(store, key, options=unchanged)
            with file.path.open("wb") as out:
                for piece in answer.stream(min_chunk_size=PIECE):
                    out.write(piece)

    def signed(self, file: LogFile) -> str:
        """Return a URL that reads this one object without credentials, for `SIGNED_FOR`."""
        bucket, key = split(file.name)
        store = self._store(bucket)
        with worded(file.name, "s3:GetObject"):
            import obstore  # noqa: PLC0415

            return obstore.sign(store, "GET", key, expires_in=SIGNED_FOR)

    def _file(self, bucket: str, found: Any) -> LogFile | None:  # noqa: ANN401 - obstore's dict
        name = f"{SCHEME}{bucket}/{found['path']}"
        version = found["e_tag"] or found["last_modified"].isoformat()
        path = self.folder / hashlib.sha256(name.encode()).hexdigest()[:32]
        return describe(name, path, size=found["size"], version=version)

    def _single(self, location: str, store: S3Store, bucket: str, key: str) -> LogFile:
        nothing = SourceError(
            f"{location}: no object there", hint="name a bucket, a folder in it or one object"
        )
        if not key:
            raise nothing
        try:
            with worded(location, "s3:GetObject"):
                import obstore  # noqa: PLC0415

                found = obstore.head(store, key)
        except GoneError:
            raise nothing from None
        file = self._file(bucket, found)
        if file is None:
            raise SourceError(
                f"{location}: not a flow log by its name",
                hint=f"known endings: {', '.join(SUFFIXES)}",
            )
        return file

    def _store(self, bucket: str) -> S3Store:
        store = self._stores.get(bucket)
        if store is None:
            store = self._stores[bucket] = _open(bucket, self.access)
        return store


def is_object(file: LogFile) -> bool:
    """Return whether a file is in an object store and has to be fetched."""
    return file.name.startswith(SCHEME)


def split(location: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`.

    Raises:
        UsageError: it is no such URL.
    """
    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    if not location.startswith(SCHEME) or not bucket:
        raise UsageError(
            f"{location}: cannot be read", hint="name a local folder or file, or s3://bucket/prefix"
        )
    return bucket, key.strip("/")


def _open(bucket: str, access: Access) -> S3Store:
    """Return the bucket, credentials found but not yet used."""
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - an extra, loaded when used
    except ImportError:
        raise NotSupportedError(
            f"reading {SCHEME}{bucket} needs obstore", hint="pip install 'flowcost[s3]'"
        ) from None
    from flowcost.sources import aws_credentials  # noqa: PLC0415 - only here

    provider, region = aws_credentials.find(access.profile)
    endpoint = access.endpoint or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    config: S3Config = {
        "region": access.region
        or _environment("AWS_REGION", "AWS_DEFAULT_REGION")
        or region
        or "us-east-1"
    }
    if endpoint:
        config["endpoint"] = endpoint
        config["virtual_hosted_style_request"] = False
    return S3Store(
        bucket,
        config=config,
        credential_provider=provider,
        # A whole log file may take minutes on a slow line; a silent line may not.
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=60),
            "timeout": timedelta(hours=1),
            "user_agent": "flowcost",
        },
        retry_config={"max_retries": 5, "retry_timeout": timedelta(minutes=2)},
    )


def _environment(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
