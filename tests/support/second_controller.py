"""A second controller of a cloud: another state directory with the same keys, the same database and the same blocks."""

import shutil
import urllib.parse
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.clients import Account
from tests.support.cloud import Cloud

_KEYS = ("ca.pem", "credentials.json", "instance-identity.pem", "master.key", "operator-key.pem", "operator.pem")


def beside(cloud: Cloud, folder: Path) -> Cloud:
    """Prepare another controller of a running cloud with a server's database; the caller starts and stops it."""
    folder.mkdir()
    other = Cloud(folder, cloud.options)
    mine, theirs = other.settings.controller_dir, cloud.settings.controller_dir
    mine.mkdir(mode=0o700)
    shutil.copytree(theirs / "ca", mine / "ca")
    for name in _KEYS:
        shutil.copy2(theirs / name, mine / name)
    for name in ("blocks", "object-store"):  # on one machine both find the server of buckets that one has started
        (mine / name).symlink_to(theirs / name)
    return other


def client_of(account: Account, *endpoints: str, verify: Path | None = None) -> Any:
    """Give a client of EC2 that sends the next try of a call to the next controller; `verify` is their authority."""
    client = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=endpoints[0],
        verify=str(verify) if verify else None,
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=account.secret_access_key,
        config=Config(connect_timeout=2, read_timeout=4, retries={"mode": "standard", "max_attempts": 10}),
    )

    def choose(request: Any, **_rest: Any) -> None:
        tries = int(request.context.get("retries", {}).get("attempt", 1)) - 1
        place = urllib.parse.urlsplit(endpoints[tries % len(endpoints)]).netloc
        request.url = urllib.parse.urlsplit(request.url)._replace(netloc=place).geturl()

    client.meta.events.register_first("before-sign.ec2", choose)
    return client
