"""A cloud in order is in order, and whatever is put into it that should not be there is named."""

import contextlib
import copy
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from stead_agent.disks.volumes.interface import VolumeSpec
from stead_agent.machines.interface import MachineSpec, Power
from stead_agent.network.interface import LocalInterface, PublicAddress, VpcNetwork
from stead_agent.simulated.world import Guest, Objects
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Host, Instance, NetworkInterface, StoragePool, Volume
from tests.recovery.lives import held
from tests.support import empty_database, rows
from tests.support.life import Life
from tests.support.rows import GIB

OVERCOMMIT = 1.0
OTHER = "h-0ffffffffffffffff"


@dataclass
class Scene:
    """A cloud with one instance that runs, in its database and on its host."""

    file: Path
    host_id: str
    instance_id: str
    here: Objects

    @property
    def guest(self) -> Guest:
        return self.here.guests[self.instance_id]

    def change(self, statement: str) -> None:
        """Change the database behind the controller's back; `HOST` and `INSTANCE` are the ids of these."""
        words = statement.replace("HOST", f"'{self.host_id}'").replace("INSTANCE", f"'{self.instance_id}'")
        with contextlib.closing(sqlite3.connect(self.file)) as database, database:
            database.execute(words)

    def wrong(self, **others: Objects) -> list[str]:
        with held.opened(self.file) as database:
            return [
                *held.in_database(database, OVERCOMMIT),
                *held.on_hosts(database, {self.host_id: self.here}),
                *held.held_twice({self.host_id: self.here, **others}),
            ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str, str, Objects]:
    """The bytes of the database, the ids of host and instance, and what the host has."""
    file = tmp_path_factory.mktemp("held") / "stead.sqlite"
    database = Database(f"sqlite:///{empty_database.write(file)}")
    life = Life(database, database.run_blocking(rows.build_world))
    pool = {"host_id": life.world.host_id, "name": "default", "backend": "directory", "is_default": True}
    life.run(lambda tx: tx.session.add(StoragePool(**pool, total=10 * GIB, free=10 * GIB, provisioned=0)))
    life.run(lambda tx: tx.session.add(rows.host(id=OTHER)))
    with_room_here_alone = {"zone": "us-east-1b"}
    life.run(lambda tx: _set(tx.session.get_one(Host, OTHER), **with_room_here_alone))
    [instance_id] = life.launch(tags={"instance": {"a": "b"}, "volume": {"a": "b"}, "network-interface": {"a": "b"}})
    life.is_running(instance_id)
    objects = life.run(_objects_of, instance_id)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return file.read_bytes(), life.world.host_id, instance_id, objects


def _set(row: Host, **values: str) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _objects_of(tx: Transaction, instance_id: str) -> Objects:
    """What the host of an instance has, if it has done what it was sent."""
    instance = tx.session.get_one(Instance, instance_id)
    volume = tx.session.scalars(select(Volume)).one()
    interface = tx.session.scalars(select(NetworkInterface)).one()
    assert interface.private_address is not None
    assert instance.public_address is not None
    public = PublicAddress(instance.public_address, interface.private_address)
    local = LocalInterface(
        interface.id, interface.subnet_id, interface.mac_address, (interface.private_address,), (public,)
    )
    spec = MachineSpec(instance_id, instance.vcpus, instance.memory, (), ())
    return Objects(
        networks={instance.vpc_id: VpcNetwork(instance.vpc_id, 1, ("172.31.0.0/16",), interfaces=(local,))},
        volumes={volume.id: VolumeSpec(volume.id, volume.size * GIB)},
        guests={instance_id: Guest(spec, Power.RUNNING, start_count=1)},
    )


@pytest.fixture
def scene(made: tuple[bytes, str, str, Objects], tmp_path: Path) -> Scene:
    """A copy of it, which a test may change."""
    content, host_id, instance_id, objects = made
    file = tmp_path / "stead.sqlite"
    file.write_bytes(content)
    return Scene(file, host_id, instance_id, copy.deepcopy(objects))


def test_what_is_in_order_is_in_order(scene: Scene) -> None:
    assert scene.wrong() == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE hosts SET cpus_reserved = 2 WHERE id = HOST", "its instances take 1 and"),
        ("UPDATE hosts SET memory_reserved = 7 WHERE id = HOST", "and 7 bytes, its instances take"),
        ("UPDATE hosts SET cpus_offered = 0 WHERE id = HOST", "has 0 vCPUs"),
        ("UPDATE hosts SET memory_offered = 1 WHERE id = HOST", "and 1 bytes, its instances"),
        ("UPDATE storage_pools SET provisioned = 5", "counts 5 bytes of its pool"),
        ("UPDATE storage_pools SET total = 1", "has a pool of 1 bytes"),
        ("INSERT INTO instance_store_disks VALUES (INSTANCE, 0, '/dev/nvme1n1', 4096)", "its disks take 2147487744"),
        ("UPDATE instances SET memory_saved = TRUE", "bytes of its pool"),
        ("UPDATE instances SET state = 'pending'", "pending changes for ever"),
        ("UPDATE instances SET state = 'stopped'", "has room, and does not run"),
        ("UPDATE instances SET capacity_held = FALSE", "runs without room"),
        ("UPDATE instances SET state = 'terminated'", "is a volume of nobody"),
        ("UPDATE instances SET state = 'terminated'", "is an interface of nobody"),
        ("UPDATE instances SET state = 'terminated'", "is sent to a host, and of no instance there"),
        ("UPDATE instances SET host_id = 'h-0ffffffffffffffff'", "is sent to a host, and of no instance there"),
        ("UPDATE volumes SET instance_id = NULL, state = 'available'", "is a volume of nobody"),
        ("UPDATE volumes SET state = 'deleting'", "is a volume of nobody"),
        ("UPDATE network_interfaces SET instance_id = NULL", "is an interface of nobody"),
        ("DELETE FROM network_interfaces", "is an address of no interface"),
        ("UPDATE public_addresses SET interface_id = NULL", "is a public address of nobody"),
        ("DELETE FROM instances", "is a reservation without instances"),
        ("DELETE FROM instances", "is a tag of nothing"),
        ("UPDATE tags SET resource_id = 'vol-0' WHERE resource_id LIKE 'vol-%'", "vol-0 a is a tag of nothing"),
        ("UPDATE tags SET resource_id = 'eni-0' WHERE resource_id LIKE 'eni-%'", "eni-0 a is a tag of nothing"),
        ("UPDATE account_usage SET value = 9", "is another count of vCPUs than its instances take"),
        (
            "INSERT INTO host_errors (host_id, kind, resource_id, error, since) VALUES (HOST, 1, 'i-1', 'no', 0)",
            "i-1 no is an error of a host",
        ),
        (
            (
                "INSERT INTO workflows (id, kind, step, facts, started, due, deadline, tries, reason)"
                " VALUES ('ami-1', 'image', 'one', '', 0, 0, 0, 0, '')"
            ),
            "ami-1 image one  is a workflow that waits",
        ),
        (
            (
                "INSERT INTO host_devices (host_id, address, model, class_code, iommu_group, driver, numa_node, reset,"
                " refusal, instance_id) VALUES ('h-0ffffffffffffffff', '0000:01:00.0', '', 0, 0, '', 0, '', '', INSTANCE)"
            ),
            "has a device of another host, or has no room",
        ),
    ],
)
def test_what_is_wrong_in_the_database_is_named(scene: Scene, statement: str, said: str) -> None:
    scene.change(statement)
    assert [line for line in scene.wrong() if said in line], scene.wrong()


@pytest.mark.parametrize(
    ("statement", "is_wrong"),
    [
        ("UPDATE hosts SET cpus_reserved = 2 WHERE id = HOST", True),
        ("UPDATE storage_pools SET total = 1", True),
        ("UPDATE account_usage SET value = 9", True),
        ("UPDATE instances SET state = 'pending'", False),
        ("UPDATE volumes SET state = 'deleting'", False),
    ],
)
def test_only_what_is_wrong_at_any_moment_is_named_while_calls_are_under_way(
    scene: Scene, statement: str, is_wrong: bool
) -> None:
    scene.change(statement)
    with held.opened(scene.file) as database:
        assert bool(held.at_any_time(database, OVERCOMMIT)) is is_wrong


def _twin(scene: Scene, **changes: str) -> None:
    """Add another instance, as the first is but for these columns."""
    with contextlib.closing(sqlite3.connect(scene.file)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(instances)")]
        values = {"id": "'i-2'", **{name: f"'{value}'" for name, value in changes.items()}}
        chosen = ", ".join(values.get(name, name) for name in columns)
        database.execute(f"INSERT INTO instances ({', '.join(columns)}) SELECT {chosen} FROM instances")


def test_a_public_address_of_two_instances_is_named(scene: Scene) -> None:
    _twin(scene)
    assert [line for line in scene.wrong() if "is a public address that several have" in line]


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("spread", "is a host of a spread group with several of it"),
        ("partition", "is a host with several partitions of a group"),
    ],
)
def test_instances_that_a_placement_group_keeps_apart_are_named(scene: Scene, strategy: str, said: str) -> None:
    scene.change(
        "INSERT INTO placement_groups (id, account_id, name, strategy, partition_count, spread_level, created)"
        f" VALUES ('pg-1', '1', 'own', '{strategy}', 2, 'rack', 0)"
    )
    scene.change("UPDATE instances SET placement_group_id = 'pg-1', partition_number = 1")
    assert not [line for line in scene.wrong() if said in line]
    _twin(scene, partition_number="2")
    assert [line for line in scene.wrong() if said in line]


def _lose(what: str) -> Callable[[Scene], None]:
    return lambda scene: getattr(scene.here, what).clear()


def _run_another(scene: Scene) -> None:
    spec = replace(scene.guest.spec, id="i-2", vcpus=64, memory=256 * GIB)
    scene.here.guests["i-2"] = Guest(spec, Power.RUNNING)


def _stop(scene: Scene) -> None:
    scene.guest.power = Power.OFF


def _add_volume(scene: Scene) -> None:
    scene.here.volumes["vol-2"] = VolumeSpec("vol-2", GIB)


def _double_interface(scene: Scene) -> None:
    [(vpc_id, vpc)] = scene.here.networks.items()
    twin = replace(vpc.interfaces[0], id="eni-2")
    scene.here.networks[vpc_id] = replace(vpc, interfaces=(*vpc.interfaces, twin))


def _take_device(scene: Scene) -> None:
    scene.here.devices["0000:01:00.0"] = scene.instance_id


def _start_twice(scene: Scene) -> None:
    scene.here.starts[scene.instance_id, 1] = 2


def _break_a_rule(scene: Scene) -> None:
    scene.here.violations.append("a rule was broken")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_lose("guests"), "has not the guest i-"),
        (_lose("volumes"), "has not the volume vol-"),
        (_lose("networks"), "has not the interface eni-"),
        (_stop, "has not the guest i-"),
        (_run_another, "has the guest i-2, which is not its own"),
        (_run_another, "its guests 65 and"),
        (_add_volume, "has the volume vol-2, which is not its own"),
        (_double_interface, "has the interface eni-2, which is not its own"),
        (_double_interface, "the MAC "),
        (_double_interface, "the address 172.31."),
        (_double_interface, "the public address 198.18."),
        (_take_device, "has the device 0000:01:00.0 of i-"),
        (_start_twice, "happened 2 times"),
        (_break_a_rule, "a rule was broken"),
    ],
)
def test_what_is_wrong_on_a_host_is_named(scene: Scene, harm: Callable[[Scene], None], said: str) -> None:
    harm(scene)
    assert [line for line in scene.wrong() if said in line], scene.wrong()


def test_what_two_hosts_have_is_named(scene: Scene) -> None:
    found = scene.wrong(**{OTHER: copy.deepcopy(scene.here)})
    kinds = ("MAC", "address", "public address", "guest", "volume")
    assert [kind for kind in kinds if not any(line.startswith(f"the {kind} ") for line in found)] == []


def test_a_device_of_two_guests_is_named(scene: Scene) -> None:
    scene.guest.spec = replace(scene.guest.spec, devices=("0000:01:00.0",))
    scene.here.guests["i-2"] = Guest(replace(scene.guest.spec, id="i-2"), Power.RUNNING)
    assert [line for line in scene.wrong() if line.startswith("the device 0000:01:00.0 of h-")]


def test_what_is_left_of_all_is_named(scene: Scene) -> None:
    with held.opened(scene.file) as database:
        found = held.left(database, {scene.host_id: scene.here})
        tables = ("instances", "reservations", "volumes", "network_interfaces", "interface_addresses", "vpc_hosts")
        assert [name for name in tables if not any(line.endswith(f"rows of {name}") for line in found)] == []
        assert [name for name in ("networks", "volumes", "guests") if not any(name in line for line in found)] == []
    for name in (*tables, "public_addresses"):
        scene.change(f"DELETE FROM {name}")
    with held.opened(scene.file) as database:
        assert held.left(database, {scene.host_id: Objects(bases={"snap-1": 1})}) == []
