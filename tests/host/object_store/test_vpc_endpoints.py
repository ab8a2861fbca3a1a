"""What comes by a gateway endpoint: its policy holds, and others' policies may ask by which endpoint it came."""

import asyncio
import json
import secrets
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stead_agent.endpoints.relay import Relay, Way
from stead_controller.aws.audit import record
from stead_controller.db.tables import VpcHost
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.network import vpc_endpoints
from stead_controller.resources.network.vpc_endpoints import Change, CreateRequest
from stead_proto.certificates import Authority
from tests.host.object_store.conftest import Store
from tests.host.object_store.test_tenants import document, refused, statement
from tests.support import rows

S3 = "com.amazonaws.us-east-1.s3"
ONCE = Repeatable("CreateVpcEndpoint", "", "")


@dataclass
class Endpoint:
    """An endpoint of the first account's VPC, and a relay to which its guests would be led."""

    store: Store
    id: str
    vpc_id: str
    port: int

    @property
    def s3(self) -> Any:
        """The first account's client by the endpoint."""
        return self._by(self.store.one)

    @property
    def role(self) -> Any:
        """The client of a session of the first account's role by the endpoint."""
        return self._by(self.store.role_account)

    def _by(self, account: Any) -> Any:
        return replace(account, endpoint=f"http://127.0.0.1:{self.port}").client("s3", read_timeout=90)

    def let(self, *statements: dict[str, Any]) -> None:
        """Give the endpoint a policy, by default one that allows everything."""
        change = Change(document(*statements) if statements else None, reset_policy=not statements)
        caller = self.store.world.one.caller  # type: ignore[union-attr]  # the fixture's
        self.store.database.run_blocking(lambda tx: vpc_endpoints.modify(tx, caller, self.id, change, rows.NOW))


@contextmanager
def _relay(store: Store, endpoint_id: str, host_id: str) -> Iterator[int]:
    """Carry what comes to a port, as a host's agent does."""
    folder = store.folder.parent
    Authority.load_or_create(folder / "ca").issue_host(host_id).save(folder / host_id)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / host_id / "identity.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    relay = Relay(endpoint_id, store.endpoint_port, Way(("127.0.0.1",), lambda: context))
    try:
        asyncio.run_coroutine_threadsafe(relay.listen([listener]), loop).result(60)
        yield listener.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(relay.close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.fixture
def endpoint(store: Store) -> Iterator[Endpoint]:
    world = store.world
    assert world is not None
    request = CreateRequest(world.one.vpc_id, S3)
    run = store.database.run_blocking
    made = run(
        lambda tx: vpc_endpoints.create(tx, world.one.caller, world.cloud, request, repeatable=ONCE, now=rows.NOW)
    )
    host = VpcHost(host_id=world.host_id, vpc_id=world.one.vpc_id, since_revision=1, gone_revision=None)
    run(lambda tx: tx.session.merge(host))
    with _relay(store, made, world.host_id) as port:
        yield Endpoint(store, made, world.one.vpc_id, port)


@pytest.fixture(scope="module")
def bucket(store: Store) -> str:
    name = f"by-endpoint-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="k", Body=b"content")
    return name


def _allow(*actions: str, **more: Any) -> dict[str, Any]:
    return statement("Allow", list(actions), "*", Principal="*", **more)


def read(client: Any, bucket: str) -> bytes:
    content: bytes = client.get_object(Bucket=bucket, Key="k")["Body"].read()
    return content


def test_everything_passes_by_default(endpoint: Endpoint, bucket: str) -> None:
    assert read(endpoint.s3, bucket) == b"content"
    endpoint.s3.put_object(Bucket=bucket, Key="new", Body=b"x" * (1 << 20))
    assert bucket in [each["Name"] for each in endpoint.s3.list_buckets()["Buckets"]]


def test_what_its_policy_does_not_allow(endpoint: Endpoint, bucket: str) -> None:
    """For root too, and at once, by connections that are open already."""
    client = endpoint.s3
    assert read(client, bucket) == b"content"
    endpoint.let(_allow("s3:GetObject"))
    assert read(client, bucket) == b"content"
    message = refused("AccessDenied", client.put_object, Bucket=bucket, Key="k2", Body=b"")
    assert message.endswith("because no VPC endpoint policy allows the s3:PutObject action")
    refused("AccessDenied", client.list_buckets)
    refused("AccessDenied", client.create_bucket, Bucket=f"{bucket}-2")
    refused("AccessDenied", client.copy_object, Bucket=bucket, Key="k3", CopySource=f"{bucket}/k")
    everybody = document(_allow("s3:*") | {"Resource": f"arn:aws:s3:::{bucket}/*"})
    refused("AccessDenied", client.put_bucket_policy, Bucket=bucket, Policy=everybody)
    endpoint.let()
    client.put_object(Bucket=bucket, Key="k2", Body=b"")


def test_what_its_policy_denies(endpoint: Endpoint, bucket: str) -> None:
    endpoint.let(_allow("*"), statement("Deny", "s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal="*"))
    message = refused("AccessDenied", endpoint.s3.get_object, Bucket=bucket, Key="k")
    assert message.endswith("with an explicit deny in a VPC endpoint policy")
    endpoint.s3.list_objects_v2(Bucket=bucket)


def test_its_policy_gives_no_rights(endpoint: Endpoint, bucket: str) -> None:
    endpoint.let(_allow("*"))
    endpoint.store.allow_role()
    assert "identity-based" in refused("AccessDenied", endpoint.role.get_object, Bucket=bucket, Key="k")
    endpoint.store.allow_role(document(statement("Allow", "s3:GetObject", "*")))
    assert read(endpoint.role, bucket) == b"content"


def test_whom_its_policy_names(endpoint: Endpoint, bucket: str) -> None:
    endpoint.store.allow_role(document(statement("Allow", "s3:GetObject", "*")))
    account = endpoint.store.one.account_id
    by_role = {"Principal": {"AWS": f"arn:aws:iam::{account}:role/reader"}}
    endpoint.let(statement("Allow", "s3:*", "*", **by_role))
    assert read(endpoint.role, bucket) == b"content"
    refused("AccessDenied", endpoint.s3.get_object, Bucket=bucket, Key="k")


def test_its_policy_may_ask_for_tags(endpoint: Endpoint, bucket: str) -> None:
    """What is known only when it is asked for is found out for an endpoint's policy as well."""
    endpoint.store.s3.put_object(Bucket=bucket, Key="red", Body=b"", Tagging="colour=red")
    endpoint.let(_allow("s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/colour": "red"}}))
    endpoint.s3.get_object(Bucket=bucket, Key="red")
    refused("AccessDenied", endpoint.s3.get_object, Bucket=bucket, Key="k")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aws:SourceVpce", lambda endpoint: endpoint.id),
        ("aws:SourceVpc", lambda endpoint: endpoint.vpc_id),
        ("aws:VpcSourceIp", lambda _: "127.0.0.1"),
    ],
)
def test_policies_ask_by_which_endpoint(endpoint: Endpoint, bucket: str, key: str, value: Any) -> None:
    """Of buckets and of identities; what did not come by an endpoint has no such keys."""
    store, operator = endpoint.store, "IpAddress" if key == "aws:VpcSourceIp" else "StringEquals"
    only = {operator: {key: value(endpoint)}}
    store.allow_role(document(statement("Allow", "s3:*", "*", Condition=only)))
    assert read(endpoint.role, bucket) == b"content"
    refused("AccessDenied", store.role.get_object, Bucket=bucket, Key="k")
    store.allow_role(document(statement("Allow", "s3:*", "*")))
    others = {f"Not{operator}" if operator == "IpAddress" else "StringNotEquals": {key: value(endpoint)}}
    arn = f"arn:aws:s3:::{bucket}/*"
    policy = document(statement("Deny", "s3:GetObject", arn, Principal="*", Condition=others))
    store.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    try:
        assert read(endpoint.role, bucket) == b"content"
        refused("AccessDenied", store.role.get_object, Bucket=bucket, Key="k")
    finally:
        store.s3.delete_bucket_policy(Bucket=bucket)


def test_a_private_address_is_no_source_address(endpoint: Endpoint, bucket: str) -> None:
    store = endpoint.store
    from_here = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    store.allow_role(document(statement("Allow", "s3:*", "*", Condition=from_here)))
    assert read(store.role, bucket) == b"content"
    refused("AccessDenied", endpoint.role.get_object, Bucket=bucket, Key="k")


def test_a_deleted_endpoint(endpoint: Endpoint, bucket: str) -> None:
    """Connections that are open yet carry nothing more, and new ones are not taken."""
    client = endpoint.s3
    assert read(client, bucket) == b"content"
    caller = endpoint.store.world.one.caller  # type: ignore[union-attr]  # the fixture's
    endpoint.store.database.run_blocking(lambda tx: vpc_endpoints.remove(tx, caller, endpoint.id, rows.NOW))
    refused("AccessDenied", client.get_object, Bucket=bucket, Key="k")
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _ended(sock)


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


def test_a_host_that_has_not_the_vpc(endpoint: Endpoint, store: Store) -> None:
    with (
        _relay(store, endpoint.id, "h-0000000000000dead") as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _ended(sock)


def test_a_host_that_has_the_vpc_no_more(endpoint: Endpoint, bucket: str) -> None:
    assert read(endpoint.s3, bucket) == b"content"
    world = endpoint.store.world
    assert world is not None
    gone = VpcHost(host_id=world.host_id, vpc_id=endpoint.vpc_id, since_revision=1, gone_revision=2)
    endpoint.store.database.run_blocking(lambda tx: tx.session.merge(gone))
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _ended(sock)


def test_no_other_service_answers(endpoint: Endpoint) -> None:
    """Neither EC2 to who has signed for it, nor the health page, nor STS to who has not signed."""
    by_endpoint = replace(endpoint.store.one, endpoint=f"http://127.0.0.1:{endpoint.port}")
    with pytest.raises(ClientError) as refusal:
        by_endpoint.client("ec2").describe_vpcs()
    # S3's own error, which is not in EC2's shape.
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as sock:
        sock.sendall(b"GET /_stead/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"AccessDenied" in sock.makefile("rb").read()


def test_records_say_by_which_endpoint(endpoint: Endpoint, bucket: str) -> None:
    def recorded(client: Any) -> Any:
        """The record of a listing is there before its answer; that of a reading comes after its last byte."""
        before = len(endpoint.store.calls)
        client.list_objects_v2(Bucket=bucket)
        (call,) = (call for call in endpoint.store.calls[before:] if call.operation == "ListObjectsV2")
        return call

    call = recorded(endpoint.s3)
    assert (call.endpoint_id, call.source_ip) == (endpoint.id, "127.0.0.1")
    event = json.loads(record.draw(call, "us-east-1").text)
    assert event["vpcEndpointId"] == endpoint.id
    assert "vpcEndpointId" not in json.loads(record.draw(recorded(endpoint.store.s3), "us-east-1").text)


def test_who_has_not_signed(endpoint: Endpoint, bucket: str) -> None:
    """What everybody may read of a bucket passes only where the endpoint's policy allows it."""
    store = endpoint.store
    arn = f"arn:aws:s3:::{bucket}/*"
    store.s3.delete_public_access_block(Bucket=bucket)
    store.s3.put_bucket_policy(Bucket=bucket, Policy=document(_allow("s3:GetObject") | {"Resource": arn}))
    try:
        url = f"http://127.0.0.1:{endpoint.port}/{bucket}/k"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.read() == b"content"
        endpoint.let(_allow("s3:PutObject"))
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(url, timeout=60)
        assert refusal.value.code == 403
    finally:
        store.s3.delete_bucket_policy(Bucket=bucket)
