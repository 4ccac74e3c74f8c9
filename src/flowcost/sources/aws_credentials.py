"""Whose credentials read an AWS bucket: the environment's, a profile's, or the machine's role.

obstore itself reads keys from the environment, web identity, container and instance roles. Only
profiles (shared files, SSO, assumed roles) need boto3, the extra `aws`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flowcost.errors import NotPermittedError, NotSupportedError

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider

# AWS SDKs and Tools Reference Guide, "Standardized credential providers".
_WITHOUT_PROFILE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}


def find(profile: str = "") -> tuple[Boto3CredentialProvider | None, str]:
    """Return a provider and the profile's region; None leaves it to obstore's own chain.

    Args:
        profile: the name of a profile; empty for `AWS_PROFILE` or the default one.

    Raises:
        NotSupportedError: a profile is asked for and boto3 is not installed.
        NotPermittedError: there is no such profile, or no credentials anywhere.
    """
    profile = profile or os.environ.get("AWS_PROFILE", "")
    if not profile:
        if any(os.environ.get(name) for name in _WITHOUT_PROFILE):
            return None, ""
        if not any(Path(os.environ.get(n, f)).expanduser().exists() for n, f in _FILES.items()):
            if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
                raise NotPermittedError(_NONE, hint=_WAY_OUT)
            return None, ""
    try:
        import boto3  # noqa: PLC0415 - an extra, loaded when used
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    except ImportError:
        raise NotSupportedError(
            "credentials of an AWS profile need boto3",
            hint="pip install 'flowcost[aws]', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from None
    try:
        session = boto3.Session(profile_name=profile or None)
        if session.get_credentials() is None:
            raise NotPermittedError(_NONE, hint=_WAY_OUT)
    except BotoCoreError as error:
        raise NotPermittedError(str(error), hint=_WAY_OUT) from None
    return Boto3CredentialProvider(session), session.region_name or ""


_NONE = "no AWS credentials"
_WAY_OUT = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in"
