"""A second controller of a cloud: another state directory with the same keys, the same database and the same blocks."""

import contextlib
import os
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.clients import Account
from tests.support.cloud import Cloud
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.s3_server import S3Server

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


@contextlib.contextmanager
def clouds(folder: Path, options: tuple[str, ...] = ()) -> Iterator[list[Cloud]]:
    """A cloud that runs, with two controllers where this machine can have what they share; each is given as one.

    That is a database of PostgreSQL, and a server for buckets with HTTPS. Hosts and images are the caller's to add to the first.
    """
    with contextlib.ExitStack() as stack:
        is_shared = bool(PROGRAMS) and os.geteuid() == 0
        if is_shared:
            server = PostgresqlServer()
            stack.callback(server.stop)
            server.start()
            options = (*options, f"--database-url={server.new_database()}", *_buckets(stack, folder / "buckets"))
        first = Cloud(folder, options)
        stack.callback(first.stop)
        first.start_controller()
        found = [first]
        if is_shared:
            second = beside(first, folder / "second")
            stack.callback(second.stop)
            second.start_controller()
            found.append(second)
        yield found


def _buckets(stack: contextlib.ExitStack, folder: Path) -> tuple[str, ...]:
    """Start a server for buckets, and give the options with which a controller uses it."""
    folder.mkdir()
    key_id, secret = "AKIDOBJECTS", "a-secret-of-controllers"
    server = stack.enter_context(S3Server(folder, key_id, secret))
    key_file = folder / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"{key_id}\n{secret}\n", encoding="ascii")
    server.make_bucket("it-is-up")
    server.client.delete_bucket(Bucket="it-is-up")
    return (
        f"--object-endpoint={server.https_url}",
        f"--object-key-file={key_file}",
        f"--object-ca-file={server.ca_file}",
    )


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
