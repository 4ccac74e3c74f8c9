"""One AWS account, called read-only; boto3, the extra `aws`, is loaded when a session opens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from flowcost.errors import NotPermittedError, NotSupportedError, UnreachableError, UsageError
from flowcost.resolve.aws_operations import Operation

REGIONS_PERMISSION = "ec2:DescribeRegions"

_ALL = "all"
_REFUSED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
_BAD_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
}
# What a call asks for beside its own thing; routes are searched, never just listed.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "search-transit-gateway-routes": {
        "Filters": [{"Name": "state", "Values": ["active", "blackhole"]}]
    },
}
_NOT_OURS = ("ResponseMetadata", "NextToken")


class RefusedError(Exception):
    """The account does not permit a call."""


class Session:
    """The credentials of one account; a context that closes its connections.

    Safe for several threads.
    """

    def __init__(self, profile: str = "", endpoint_url: str = "") -> None:
        """Open a session with a named profile, or with the environment's credentials.

        Raises:
            NotSupportedError: the extra `aws` is not installed.
            NotPermittedError: there is no such profile.
        """
        try:
            import boto3  # noqa: PLC0415 - an extra, loaded when used
            from botocore.config import Config  # noqa: PLC0415
        except ImportError:
            raise NotSupportedError(
                "reading a live AWS account needs boto3", hint="pip install 'flowcost[aws]'"
            ) from None
        # Describe calls are throttled per account: adaptive retries wait as long as it takes.
        self._config = Config(
            retries={"mode": "adaptive", "max_attempts": 10}, user_agent_extra="flowcost"
        )
        self._endpoint = endpoint_url or None
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        with _worded():
            self._session = boto3.Session(profile_name=profile or None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def account(self) -> str:
        """Return the account id of the credentials (this call needs no permission)."""
        with _worded():
            client = self._client("sts", self._session.region_name or "us-east-1")
            answer: str = client.get_caller_identity()["Account"]
            return answer

    def regions(self, wanted: Sequence[str]) -> list[str]:
        """Return the regions to read: those named, all that are enabled, or the session's own.

        Raises:
            RefusedError: the account does not permit to list its regions.
            UsageError: no region is named anywhere.
        """
        if _ALL in wanted:
            with _worded():
                client = self._client("ec2", self._session.region_name or "us-east-1")
                return sorted(one["RegionName"] for one in client.describe_regions()["Regions"])
        if wanted:
            return sorted(set(wanted))
        if self._session.region_name:
            return [self._session.region_name]
        raise UsageError(
            "no AWS region is set", hint="name one with --region, or all with --region all"
        )

    def call(self, operation: Operation, region: str, value: str = "") -> dict[str, Any]:
        """Return the whole answer of `operation` in `region`, all its pages as one.

        Raises:
            RefusedError: the account does not permit it.
            UnreachableError: AWS cannot be reached or answers with an error.
        """
        with _worded(f"{operation.name} in {region}"):
            client = self._client(operation.service, region)
            arguments = dict(_ARGUMENTS.get(operation.name, {}))
            if value:
                arguments[operation.argument] = value
            if client.can_paginate(operation.method):
                pages = client.get_paginator(operation.method).paginate(**arguments)
                answer: dict[str, Any] = pages.build_full_result()
            else:
                answer = getattr(client, operation.method)(**arguments)
        return {name: found for name, found in answer.items() if name not in _NOT_OURS}

    def _client(self, service: str, region: str) -> Any:  # noqa: ANN401 - boto3 has no types
        with self._lock:  # making a client is not thread-safe, using one is
            key = service, region
            if key not in self._clients:
                self._clients[key] = self._session.client(
                    service, region_name=region, endpoint_url=self._endpoint, config=self._config
                )
            return self._clients[key]


@contextmanager
def _worded(doing: str = "AWS") -> Iterator[None]:
    """Turn the library's errors into the operator's."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _REFUSED:
            raise RefusedError(doing) from None
        if code in _BAD_CREDENTIALS:
            raise NotPermittedError(f"{doing}: {error}", hint="sign in again") from None
        raise UnreachableError(f"{doing}: {error}") from None
    except BotoCoreError as error:
        if type(error).__name__ in _NO_CREDENTIALS:
            raise NotPermittedError(
                f"{doing}: {error}", hint="set AWS_PROFILE or name a profile with --profile"
            ) from None
        raise UnreachableError(f"{doing}: {error}") from None
