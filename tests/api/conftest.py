"""An AWS endpoint with a real database behind it, two tenants, and a boto3 client for each."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.exceptions import ClientError

from stead_controller.aws import operations
from stead_controller.aws.app import AwsApp
from stead_controller.aws.authenticate import by_opened_keys
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.store import BlockStore
from stead_controller.clock import now
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Base, Instance
from stead_controller.request.questions import HostAnswer, OfMetrics, Question
from stead_controller.resources.iam.key_cache import KeyCache
from stead_controller.resources.iam.policies_of_caller import policies_of
from stead_controller.secrets.message_signer import MessageSigner
from stead_proto.certificates import Authority
from tests.support import databases, empty_database, endpoints, rows
from tests.support.databases import closed
from tests.support.endpoints import Endpoint
from tests.support.memory_folders import folder_in_memory, maker_in_memory  # noqa: F401 - fixtures
from tests.support.memory_metrics import MemoryMetrics
from tests.support.receivers import Receiver, Sending, to_loopback
from tests.support.reused_databases import ReusedDatabases
from tests.support.row_witness import RowWitness
from tests.support.rows import Tenant, World

SECRET = "a/secret+key"


@dataclass
class Api:
    """A running endpoint over a database; time stands still at `now`."""

    database: Database
    world: World
    app: AwsApp
    blocks: BlockStore
    metrics: MemoryMetrics
    endpoint: Endpoint
    witness: RowWitness | None  # None on a server
    _dumped: tuple[int, dict[str, list[tuple[Any, ...]]]] | None = None

    @property
    def port(self) -> int:
        """The port of loopback that is served."""
        return self.endpoint.port

    @property
    def ec2(self) -> Any:
        """The first tenant's client."""
        return self.client(self.world.one)

    @property
    def other(self) -> Any:
        """The second tenant's client."""
        return self.client(self.world.other)

    def client(self, tenant: Tenant, service: str = "ec2") -> Any:
        """A boto3 client of a tenant, which tries once."""
        return self.endpoint.client(service, tenant.caller.access_key_id, SECRET)

    def session(self, credentials: Mapping[str, str], service: str = "ec2") -> Any:
        """A boto3 client with temporary credentials, as STS answers them."""
        return self.endpoint.make_client(
            service,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )

    def long_term(self, access_key_id: str, secret: str, service: str = "ec2") -> Any:
        """A boto3 client with an access key."""
        return self.endpoint.make_client(service, aws_access_key_id=access_key_id, aws_secret_access_key=secret)

    def unsigned(self, service: str) -> Any:
        """A boto3 client of somebody without any key."""
        return self.endpoint.make_client(service, signature_version=botocore.UNSIGNED)

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function(tx, …)` in a transaction."""
        return self.database.run_blocking(lambda tx: function(tx, *args, **kwargs))

    def launch(self, tenant: Tenant | None = None, **changes: Any) -> str:
        """Add an instance's rows, past RunInstances, and give its id."""
        launched: str = self.run(lambda tx: rows.launch(tx, self.world, tenant or self.world.one, **changes).id)
        return launched

    def set_running(self, instance_id: str) -> None:
        """Let an instance run, of which there is no host to report it: it may be stopped from now on."""
        self.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "running"))

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables; they are read anew when a transaction was committed since the last time."""
        if databases.SERVER:
            return self._dump_all()
        self._reader.execute("BEGIN")
        try:
            [(version,)] = self._reader.execute("PRAGMA data_version")
            if self._dumped is None or self._dumped[0] != version:
                names = self._reader.execute(
                    "SELECT name FROM sqlite_master WHERE type='table' ORDER BY name"
                ).fetchall()
                rows_of = {
                    name: self._reader.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for (name,) in names
                }
                self._dumped = version, rows_of
        finally:
            self._reader.execute("COMMIT")
        return dict(self._dumped[1])

    def _dump_all(self) -> dict[str, list[tuple[Any, ...]]]:
        with self.database.engine.connect() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
                for table in Base.metadata.sorted_tables
            }

    @cached_property
    def _reader(self) -> sqlite3.Connection:
        """A connection that writes nothing, so that its `data_version` tells of the commits of all others."""
        return sqlite3.connect(str(self.database.engine.url.database), isolation_level=None, check_same_thread=False)

    def close(self) -> None:
        """Close what was opened to look."""
        if "_reader" in vars(self):
            self._reader.close()

    def refused(self, code: str, function: Callable[..., Any], **params: Any) -> str:
        """Check that a call is refused with this code and changes no row; give the message."""
        before = None if self.witness else self._dump_all()
        if self.witness:
            self.witness.remember()
        with pytest.raises(ClientError) as refusal:
            function(**params)
        error = refusal.value.response["Error"]
        assert error["Code"] == code, error
        if self.witness:
            assert self.witness.changes() == {}
        else:
            assert self._dump_all() == before
        return str(error["Message"])


@pytest.fixture(scope="session")
def api_database(
    tmp_path_factory: pytest.TempPathFactory, reused_databases: ReusedDatabases
) -> tuple[ReusedDatabases, bytes, World]:
    """What lends databases; the bytes of one with the two tenants of `rows.build_world` and their keys; the world."""
    database = databases.opened(empty_database.write(tmp_path_factory.mktemp("api") / "world.sqlite"))
    world: World = database.run_blocking(_build)
    return reused_databases, closed(database), world


@pytest.fixture
def api(tmp_path: Path, api_database: tuple[ReusedDatabases, bytes, World]) -> Iterator[Api]:
    """An endpoint with a fresh database and world behind it."""
    with serving(tmp_path, *api_database) as served:
        yield served


@contextmanager
def serving(folder: Path, reused: ReusedDatabases, content: bytes, built: World) -> Iterator[Api]:
    """Serve a database with this content, in which this world was built."""
    with reused.lent(content) as held, endpoints.lent() as endpoint:
        database, world = held.database, built.copy()
        keys = KeyCache(database, world.cloud.sealer)
        authorizer = PolicyAuthorizer(policies_of)
        operations.load()
        measured = MemoryMetrics()

        async def ask(question: Question) -> HostAnswer:
            if isinstance(question, OfMetrics):
                return HostAnswer(b"", now(), found=await question.ask(measured))
            return await blocks.answer(question)  # type: ignore[arg-type]  # nobody else is asked here

        app = AwsApp(
            transactions=database,
            find_key=by_opened_keys(keys.find),
            cloud=world.cloud,
            page_key=b"page key",
            authorizer=authorizer,
            ask=ask,
            on_call=authorizer.note,
        )
        with (
            closing(BlockStore(database, BlockDirectory(folder / "blocks"), now, grace=timedelta(hours=1))) as blocks,
            closing(Api(database, world, app, blocks, measured, endpoint, held.witness)) as api,
            endpoint.serving(app),
        ):
            yield api


@pytest.fixture
def at(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the time of the endpoint and of its clients, which stands still then: no test depends on today's date."""

    def set_to(moment: datetime) -> None:
        monkeypatch.setattr(api.app, "_clock", lambda: moment)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)

    return set_to


@pytest.fixture(scope="session")
def message_signing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, MessageSigner]:
    """An authority and the key of topics' messages, which takes a second to make."""
    authority = Authority.create()
    signer = MessageSigner(tmp_path_factory.mktemp("signer"), authority)
    assert signer.path
    return authority, signer


@pytest.fixture
def sending(api: Api, tmp_path: Path, message_signing: tuple[Authority, MessageSigner]) -> Sending:
    """What sends messages of topics, to loopback too; the test runs it."""
    to_loopback(api)
    return Sending(api, tmp_path, *message_signing)


@pytest.fixture
def receiver(sending: Sending, tmp_path: Path) -> Iterator[Receiver]:
    """An HTTPS server for messages of topics."""
    made = Receiver(tmp_path, sending.authority)
    yield made
    made.close()


def _build(tx: Transaction) -> World:
    world = rows.build_world(tx)
    for tenant in (world.one, world.other):
        tx.session.add(rows.access_key(tenant.caller, SECRET))
    return world
