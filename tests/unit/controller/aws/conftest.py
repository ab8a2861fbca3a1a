"""An AWS endpoint on loopback with a handful of operations of its own, and boto3 pointed at it."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.config
import pytest

from stead_controller.aws.app import AwsApp
from stead_controller.aws.authenticate import Credential
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.call import Call, Operation, Params, Result
from stead_controller.aws.call_record import CallRecord
from stead_controller.aws.reading import whole
from stead_controller.aws.server import AwsServer, Listener
from stead_controller.aws.sts.get_caller_identity import get_caller_identity
from stead_controller.errors import AlreadyExists, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam.policies_of_caller import policies_of

ACCOUNT = "123456789012"
KEY, SECRET = "AKIAEXAMPLE000000000", "a/secret+key"
OTHER_KEY = "AKIAINACTIVE00000000"
SESSION_KEY, TOKEN = "ASIAEXAMPLE000000000", "a+session/token=="
AUTHORIZER = PolicyAuthorizer(policies_of)  # of whose callers all are root
CLOUD = Cloud("eu-1", ("eu-1a",), "aws", "http://stead.example")


def credential(key: str, **options: Any) -> Credential:
    return Credential(key, SECRET, Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/me", "AIDAEXAMPLE", key), **options)


@dataclass
class MemoryTransactions:
    """Runs functions as the database does, and keeps what became of each."""

    volumes: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    bounds: list[float] = field(default_factory=list)

    async def run[T](
        self,
        function: Callable[[Transaction], T],
        *,
        writes: bool = True,
        dry_run: bool = False,
        within: float = math.inf,
    ) -> T:
        self.bounds.append(within)
        return await asyncio.to_thread(self._run, function, writes, dry_run)

    def _run[T](self, function: Callable[[Transaction], T], writes: bool, dry_run: bool) -> T:
        remaining = list(self.volumes)
        tx: Any = self
        try:
            result = function(tx)
        except BaseException:
            self.volumes[:] = remaining
            self.outcomes.append("raised")
            raise
        if dry_run or not writes:
            self.volumes[:] = remaining
        self.outcomes.append("dry run" if dry_run else "committed" if writes else "read")
        return result


def describe_volumes(call: Call, params: Params) -> Result:
    store: Any = call.tx
    whole(params)
    missing = [one for one in params.get("VolumeIds", []) if one not in store.volumes]
    if missing:
        raise NotFound("volume", missing)
    return {"Volumes": [{"VolumeId": one, "CreateTime": call.now, "Tags": []} for one in store.volumes]}


def create_volume(call: Call, params: Params) -> Result:
    store: Any = call.tx
    name = params.get("ClientToken", "vol-new")
    if name in store.volumes:
        raise AlreadyExists("volume", "There is one.", code="InvalidVolumeID.Duplicate")
    store.volumes.append(name)
    return {"VolumeId": name, "Size": params.get("Size"), "AvailabilityZone": params.get("AvailabilityZone")}


def crash(call: Call, params: Params) -> Result:
    raise ZeroDivisionError("a secret of the house")


def answer_nonsense(call: Call, params: Params) -> Result:
    store: Any = call.tx
    whole(params)
    store.volumes.append("vol-never")
    return {"NoSuchMember": 1}


def delete_volume(call: Call, params: Params) -> Result:
    store: Any = call.tx
    if params["VolumeId"] not in store.volumes:
        raise NotFound("volume", params["VolumeId"])
    store.volumes.remove(params["VolumeId"])
    return {}


OPERATIONS = {
    (service, name): Operation(service, name, handler, writes)
    for service, name, handler, writes in (
        ("ec2", "DescribeVolumes", describe_volumes, False),
        ("ec2", "CreateVolume", create_volume, True),
        ("ec2", "DeleteVolume", delete_volume, True),
        ("ec2", "DescribeRegions", crash, False),
        ("ec2", "CreateSnapshot", answer_nonsense, True),
        ("sts", "GetCallerIdentity", get_caller_identity, False),
    )
}


@dataclass
class Endpoint:
    """A running endpoint: where it listens, what it stored, and a record of each call."""

    port: int
    transactions: MemoryTransactions
    records: list[CallRecord]
    app: AwsApp

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, *, key: str = KEY, secret: str = SECRET, token: str | None = None) -> Any:
        """A boto3 client that tries once."""
        config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=60, read_timeout=60)
        make: Any = boto3.client  # its stubs want each service's name as a literal
        return make(
            service,
            region_name="eu-1",
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=config,
        )


async def find_key(access_key_id: str, session_token: str | None) -> Credential | None:
    del session_token
    return {
        KEY: credential(KEY),
        OTHER_KEY: credential(OTHER_KEY, active=False),
        SESSION_KEY: credential(SESSION_KEY, session_token=TOKEN),
    }.get(access_key_id)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A fresh endpoint in a thread of its own, stopped after the test."""
    transactions, records = MemoryTransactions(), list[CallRecord]()
    app = AwsApp(
        transactions=transactions,
        find_key=find_key,
        cloud=CLOUD,
        page_key=b"page key",
        authorizer=AUTHORIZER,
        on_call=records.append,
        operations=OPERATIONS,
    )
    server = AwsServer(app, [Listener("127.0.0.1", 0)], shutdown_seconds=2)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        [(_, port)] = asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
        yield Endpoint(port, transactions, records, app)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
