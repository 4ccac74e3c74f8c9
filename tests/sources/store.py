"""A real S3 server on loopback (moto), and users with rights of their own."""

from __future__ import annotations

import json
import logging
import urllib.request
from contextlib import contextmanager

import boto3
import moto.server

REGION = "us-east-1"


class Store:
    """One server; `client` writes as its owner, whatever rights the users have."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.client = self._client("s3")
        self._iam = self._client("iam")

    def _client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="owner",
            aws_secret_access_key="owner",
        )

    def bucket(self, name):
        self.client.create_bucket(Bucket=name)
        return name

    def upload(self, bucket, folder, prefix=""):
        """Put every file below `folder` under its own relative path."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    def user(self, name, *actions):
        """Return the access key of a new user who may do `actions` and nothing else."""
        self._iam.create_user(UserName=name)
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
        }
        self._iam.put_user_policy(
            UserName=name, PolicyName="only", PolicyDocument=json.dumps(policy)
        )
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def checked_from_now(self, yes):
        """Check the rights and signatures of every call, or of none."""
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/reset-auth",
            data=b"0" if yes else b"inf",
            headers={"Content-Type": "text/plain"},
        )
        urllib.request.urlopen(request, timeout=10).read()


@contextmanager
def serving():
    """Yield a store, stopped at the end."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        yield Store(f"http://127.0.0.1:{port}")
    finally:
        server.stop()


def environment(store, tmp_path, **more):
    """Return the variables of a process that reads this store and asks no metadata service."""
    return {
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "owner",
        "AWS_SECRET_ACCESS_KEY": "owner",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }
