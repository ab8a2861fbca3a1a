"""Fixtures for all tests; each docstring says what is already done and what the caller has to do."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from stead_controller.metrics.engine_store import EngineStore
from stead_proto.v1 import operator_pb2
from tests.support import leaks, loaded_programs, metrics, micro
from tests.support.ceph import Ceph, missing_programs
from tests.support.clients import Account
from tests.support.cloud import DEVICE, Cloud, HostSize
from tests.support.memory_folders import Folders, folder_of_process  # noqa: F401 - a fixture
from tests.support.real_cloud import RealCloud, User
from tests.support.reused_databases import ReusedDatabases
from tests.support.rig import TestRig
from tests.support.shared_models import share_among_clients
from tests.support.shares import is_over
from tests.support.street import Street, new_street

share_among_clients()
loaded_programs.offer()

_TOUCHES_THE_HOST = ("root", "libvirt", "guest")
_OF_ONE_SHARE = ("real_cloud", "session_rig", "store", "endpoint")


def _touches_the_host(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in _TOUCHES_THE_HOST)


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves something on the host; what longer-lived fixtures made is not counted."""
    if os.geteuid() != 0 or not _touches_the_host(request.node):
        yield
        return
    before = leaks.take_inventory()
    yield
    leaks.assert_nothing_beyond(before, "this test")


@pytest.fixture(scope="session", autouse=True)
def _all_leave_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail at the end when the tests together leave something on the host."""
    if os.geteuid() != 0 or not any(_touches_the_host(item) for item in request.session.items):
        yield
        return
    before = leaks.take_inventory()
    yield
    leaks.assert_nothing_beyond(before, "the tests together")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the cloud with guests, the rig and servers when no further test of this process uses them.

    Idle, the first two take a fiftieth of a processor each, and their shares are done long before the run.
    """
    if hasattr(item.config, "workerinput") and nextitem is not None and is_over(item.nodeid, nextitem.nodeid):
        for name in _OF_ONE_SHARE:
            for made in item.session._fixturemanager.getfixturedefs(name, item) or ():
                # With all that uses it, and nothing where it was not made.
                made.finish(item._request)  # type: ignore[attr-defined]  # each function of a test has one


@pytest.fixture(scope="session")
def micro_image() -> Path:
    """The file of the micro guest image; any test may read it or use it as a backing file."""
    return micro.build()


@pytest.fixture(scope="session")
def metrics_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a real engine of metrics that runs, shared: use an account of your own, do not kill it."""
    yield from metrics.running_in(tmp_path_factory.mktemp("metrics"))


@pytest.fixture
async def metrics_store(metrics_folder: Path) -> AsyncIterator[EngineStore]:
    """A store on the shared engine of metrics."""
    store = metrics.store_on(metrics_folder)
    yield store
    await store.close()


@pytest.fixture(scope="session")
def reused_databases(
    tmp_path_factory: pytest.TempPathFactory, memory_of_tests: Path | None
) -> Iterator[ReusedDatabases]:
    """SQLite databases that tests use one after the other."""
    maker = Folders(memory_of_tests) if memory_of_tests is not None else tmp_path_factory
    made = ReusedDatabases(maker.mktemp("databases"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, memory_of_tests: Path | None) -> Iterator[Cloud]:
    """A running cloud with two simulated hosts, each with one DEVICE and one core set apart, shared by all tests: leave no running instances, stop nothing."""
    # In memory whoever asks first: else all others' calls would wait for a disk when a client of others comes first.
    maker = Folders(memory_of_tests) if memory_of_tests is not None else tmp_path_factory
    made = Cloud(maker.mktemp("shared-cloud"))
    try:
        made.start_controller()
        made.add_hosts(2, HostSize(devices=[DEVICE], whole_cores=1))
        yield made
        # Whatever tests did, no row is left that `stead doctor` would warn of.
        assert list(made.operator.mend_rows(only_look=True)) == []
    finally:
        made.stop()


@pytest.fixture(scope="session")
def image_id(cloud: Cloud) -> str:
    """A public image that the shared cloud's hosts can run."""
    return cloud.add_image()


@pytest.fixture
def account(cloud: Cloud) -> Account:
    """A new account of the shared cloud, with its own default VPC and nothing in it."""
    return cloud.new_account()


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """A factory of clouds for tests that kill controllers or need their own settings; all are stopped at the end."""
    made: list[Cloud] = []

    def make(*, hosts: int = 1, options: tuple[str, ...] = ()) -> Cloud:
        folder = tmp_path / f"cloud-{len(made)}"
        folder.mkdir()
        made.append(Cloud(folder, options))
        made[-1].start_controller()
        if hosts:
            made[-1].add_hosts(hosts)
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(scope="session")
def ceph_programs() -> None:
    """Skip the test unless Ceph's programs are installed: not every machine that runs tests has them."""
    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)}: ./stead test --ceph installs what a Ceph cluster is made of")


@pytest.fixture(scope="module")
def ceph(ceph_programs: None) -> Iterator[Ceph]:
    """A real Ceph cluster on this machine, with an empty pool; leave no image, restart every daemon that you end."""
    made = Ceph()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def real_cloud(request: pytest.FixtureRequest) -> Iterator[RealCloud]:
    """A whole cloud with real guests, shared by all tests: terminate your instances; it may be killed, not stopped."""
    made = RealCloud()
    try:
        made.up()
        [host] = made.operator.list_hosts()  # of as few threads as the machine; many guests are there at the same time
        made.operator.set_host(operator_pb2.SetHostRequest(host_id=host.id, overcommit_cpus=8))
        yield made
    finally:
        results = os.environ.get("STEAD_TEST_RESULTS")
        if results and request.session.testsfailed:
            made.keep_logs(Path(results))
        made.purge()


@pytest.fixture
def user(real_cloud: RealCloud, tmp_path: Path) -> Iterator[User]:
    """A new account of the shared real cloud with a key pair; its instances are terminated after the test."""
    made = User(real_cloud, real_cloud.new_account(), tmp_path)
    yield made
    made.terminate_all()


@pytest.fixture(scope="session")
def guest_owner(real_cloud: RealCloud, tmp_path_factory: pytest.TempPathFactory) -> User:
    """The account of the shared guest; its key pair can decrypt passwords."""
    return User(real_cloud, real_cloud.new_account(), tmp_path_factory.mktemp("guest-owner"), key_type="rsa")


@pytest.fixture(scope="session")
def guest(guest_owner: User) -> Iterator[str]:
    """A shared running micro guest: inspect it, log in to it, change nothing that other tests would see."""
    [instance_id] = guest_owner.run(
        UserData="#!/bin/sh\necho shared >/var/tmp/word\n",
        MetadataOptions={"InstanceMetadataTags": "enabled"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "shared"}]}],
    )
    guest_owner.login(instance_id)
    yield instance_id
    guest_owner.terminate([instance_id])


@pytest.fixture(scope="session")
def session_rig(request: pytest.FixtureRequest) -> Iterator[TestRig]:
    """The rig behind `rig`, without its checks."""
    made = TestRig()
    try:
        made.up()
        yield made
    finally:
        results = os.environ.get("STEAD_TEST_RESULTS")
        if results and request.session.testsfailed:
            made.keep_logs(Path(results))
        made.down()


@pytest.fixture(scope="session")
def street(session_rig: TestRig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Two booted guests on two hosts, shared: detach the volumes that you attach, undo your changes."""
    with new_street(session_rig, tmp_path_factory.mktemp("street")) as made:
        yield made


@pytest.fixture
def rig(session_rig: TestRig) -> Iterator[TestRig]:
    """Three hosts in this machine, shared: terminate your instances, restart what you stop; leaks are checked."""
    before = session_rig.inventories()
    yield session_rig
    for host in session_rig.hosts:
        leaks.assert_nothing_beyond(before[host.name], "this test", place=host.place)
