"""The S3 endpoint over HTTP and HTTPS, with a real database and a real SeaweedFS behind it, for all tests here."""

import asyncio
import os
import signal
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stead_controller.authorization.evaluate import ALLOW_ALL, Policies, of_principal
from stead_controller.aws import operations
from stead_controller.aws.app import AwsApp
from stead_controller.aws.authenticate import Credential, KeyLookup
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.endpoint_arrivals import EndpointListener
from stead_controller.aws.failed_logins import FailedLogins
from stead_controller.aws.server import AwsServer, Listener
from stead_controller.aws.throttle import Throttle
from stead_controller.db.session import Database, Transaction
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.bucket_counting import BucketWrites
from stead_controller.object_store.embedded import PROCESS_FILE, EmbeddedServer
from stead_controller.object_store.handler import ObjectStoreHandler
from stead_controller.request.caller import Caller, Session
from stead_controller.resources.iam.policies_of_caller import policies_of
from stead_controller.resources.network import vpc_endpoint_access
from stead_controller.resources.network.vpc_endpoint_access import Via
from stead_controller.resources.storage import object_keys
from stead_controller.secrets.sealing import Sealer
from stead_proto.certificates import Authority
from tests.support import empty_database, rows
from tests.support.clients import Account
from tests.support.processes import free_ports

EVERYTHING = Policies(identity=(ALLOW_ALL,))

SECRET = "a/secret+key"
TOKEN = "a-session-token"


@dataclass(frozen=True)
class Given:
    """Rights as the test gives them: policies by access keys, everything to others, and a role's tags."""

    found: Mapping[str, Policies] = field(default_factory=dict)
    of_role: Mapping[str, str] = field(default_factory=dict)

    def policies(self, tx: Transaction, caller: Caller) -> Policies:
        """Give the policies of a caller."""
        del tx
        return self.found.get(caller.access_key_id) or EVERYTHING

    def tags(self, tx: Transaction, caller: Caller) -> Mapping[str, str]:
        """Give the tags of a caller."""
        del tx
        return self.of_role if caller.kind == "role" else {}


@dataclass
class Store:
    """A running object store: two accounts, and a role of the first whose policies the test chooses."""

    app: AwsApp
    handler: ObjectStoreHandler
    database: Database
    find_key: KeyLookup
    one: Account
    other: Account
    secure: Account
    folder: Path
    throttle: Throttle
    failed_logins: FailedLogins
    policies: dict[str, Policies] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    calls: list[Any] = field(default_factory=list)
    world: rows.World | None = None
    writes: BucketWrites | None = None
    endpoint_port: int = 0  # where hosts bring what came by VPC endpoints

    @property
    def s3(self) -> Any:
        """The first account's client."""
        return self.one.client("s3", read_timeout=90)

    @property
    def role_account(self) -> Account:
        """A session of the first account's role."""
        return replace(self.one, access_key_id=ROLE_KEY, session_token=TOKEN)

    @property
    def role(self) -> Any:
        """The client of a session of the first account's role."""
        return self.role_account.client("s3", read_timeout=90)

    def allow_role(self, *documents: str) -> None:
        """Give the role these policies and no others."""
        self.policies[ROLE_KEY] = of_principal(documents)

    @property
    def guest(self) -> Any:
        """The client of a session of the second account's role."""
        return replace(self.other, access_key_id=GUEST_KEY, session_token=TOKEN).client("s3", read_timeout=90)

    def allow_guest(self, *documents: str) -> None:
        """Give the second account's role these policies and no others."""
        self.policies[GUEST_KEY] = of_principal(documents)

    def server(self) -> EmbeddedServer:
        """The server behind, which the endpoint's own has started, as another controller finds it."""
        return EmbeddedServer(self.folder, self.folder / "weed.log", self.find_store_key)

    async def find_store_key(self) -> bytes:
        """The key by which the server behind seals the keys of objects."""
        return await self.database.run(lambda tx: object_keys.of_embedded(tx, SEALER))

    def server_process(self) -> int:
        """The process of the server behind."""
        return int((self.folder / PROCESS_FILE).read_text().split()[0])


SEALER = Sealer(bytes(range(32)))
ROLE_KEY = "ASIA1111111111111111"
GUEST_KEY = "ASIA2222222222222222"
ROLE_ID = "AROA11111111111111111"
GUEST_ID = "AROA22222222222222222"


def _credentials(one: Caller, other: Caller) -> dict[str, Credential]:
    found = [Credential(caller.access_key_id, SECRET, caller) for caller in (one, other)]
    found += [_role(one, ROLE_KEY, ROLE_ID), _role(other, GUEST_KEY, GUEST_ID)]
    return {each.access_key_id: each for each in found}


def _role(root: Caller, key: str, role_id: str) -> Credential:
    """A session of the role `reader` of an account."""
    now = datetime.now(UTC)
    session = Session("test", now, now + timedelta(hours=1))
    role = Caller(
        account_id=root.account_id,
        arn=f"arn:aws:sts::{root.account_id}:assumed-role/reader/test",
        user_id=f"{role_id}:test",
        access_key_id=key,
        kind="role",
        session=session,
        principal_id=role_id,
        principal_arn=f"arn:aws:iam::{root.account_id}:role/reader",
    )
    return Credential(key, SECRET, role, session_token=TOKEN, expires=session.expires)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A running object store; nothing is behind it until the first request."""
    folder = tmp_path_factory.mktemp("objects")
    database = Database(f"sqlite:///{empty_database.write(folder / 'stead.sqlite')}")
    world: rows.World = database.run_blocking(rows.build_world)
    database.run_blocking(lambda tx: _add_roles(tx, world))
    known = _credentials(world.one.caller, world.other.caller)
    found, tags = dict[str, Policies](), dict[str, str]()
    calls: list[Any] = []
    writes = BucketWrites(database)
    limits = throttle, failed_logins = Throttle(100), FailedLogins(100)

    async def find_key(access_key_id: str, session_token: str | None) -> Credential | None:
        del session_token
        return known.get(access_key_id)

    operations.load()
    app = AwsApp(
        transactions=database,
        find_key=find_key,
        authorizer=PolicyAuthorizer(policies_of),
        cloud=world.cloud,
        page_key=b"page key",
    )
    handler = ObjectStoreHandler(
        transactions=database,
        find_key=find_key,
        backend=Backend(
            EmbeddedServer(
                folder / "store",
                folder / "store" / "weed.log",
                lambda: database.run(lambda tx: object_keys.of_embedded(tx, SEALER)),
            ),
            writes.writing,
        ),
        region="us-east-1",
        domain="localhost",
        rights=Given(found, tags),
        on_call=calls.append,
        throttle=throttle,
        failed_logins=failed_logins,
    )
    listeners = [Listener("127.0.0.1", 0), Listener("127.0.0.1", 0, _tls(folder))]
    endpoints = _endpoints(folder, database)
    with serving(AwsServer(app, listeners, objects=handler, endpoints=endpoints, shutdown_seconds=2), handler) as (
        http,
        https,
    ):
        one, other = (
            Account(tenant.caller.account_id, tenant.caller.access_key_id, SECRET, f"http://127.0.0.1:{http}")
            for tenant in (world.one, world.other)
        )
        secure = replace(one, endpoint=f"https://127.0.0.1:{https}", ca_file=folder / "ca.pem")
        made = Store(
            app, handler, database, find_key, one, other, secure, folder / "store", *limits, found, tags, calls
        )
        made.world, made.endpoint_port, made.writes = world, endpoints.port, writes
        yield made
    database.close()
    if (made.folder / PROCESS_FILE).exists():
        os.kill(made.server_process(), signal.SIGKILL)


@pytest.fixture(autouse=True)
def _rights_end_with_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test gives roles its own rights."""
    yield
    if "store" in request.fixturenames:
        made: Store = request.getfixturevalue("store")
        made.policies.clear()
        made.tags.clear()


def _add_roles(tx: Transaction, world: rows.World) -> None:
    for tenant, role_id in ((world.one, ROLE_ID), (world.other, GUEST_ID)):
        tx.session.add(rows.role(tenant.caller.account_id, "reader", id=role_id))


def _tls(folder: Path) -> ssl.SSLContext:
    identity = Authority.load_or_create(folder / "ca").issue_server()
    (folder / "server.pem").write_bytes(identity.key_pem + identity.certificate_pem)
    (folder / "ca.pem").write_bytes(identity.ca_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return context


def _endpoints(folder: Path, database: Database) -> EndpointListener:
    """What hosts bring is asked about in the database."""
    hosts = _tls(folder)
    hosts.load_verify_locations(folder / "ca.pem")
    hosts.verify_mode = ssl.CERT_REQUIRED

    async def admit(host_id: str, endpoint_id: str) -> Via | None:
        return await database.run(lambda tx: vpc_endpoint_access.admit(tx, host_id, endpoint_id), writes=False)

    (port,) = free_ports(1)
    return EndpointListener("127.0.0.1", port, hosts, _tls(folder), frozenset({443}), admit)


@contextmanager
def serving(server: AwsServer, handler: ObjectStoreHandler) -> Iterator[list[int]]:
    """Serve in a thread of its own; give the ports."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield [port for _, port in asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)]
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        asyncio.run_coroutine_threadsafe(handler.close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
