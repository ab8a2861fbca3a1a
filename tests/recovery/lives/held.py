"""What a cloud's database and its hosts hold, and what of it is wrong: given twice, more than there is, or nobody's.

Only reads, and only a cloud at rest is in order: no call is under way, and hosts have done what they were sent.
"""

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from stead_agent.machines.interface import Power
from stead_agent.simulated.world import Objects
from stead_controller.catalog import boot_modes
from stead_controller.placement.guest_memory import memory_of
from stead_proto.v1 import desired_pb2 as pb

_GIB: Final = 1 << 30
# What instances take of their hosts, and what their hosts count.
_ROOM: Final = """
    SELECT h.id, h.cpus_offered, h.memory_offered, h.cpus_reserved, h.memory_reserved,
           coalesce(i.vcpus, 0), coalesce(i.memory, 0)
    FROM hosts h LEFT JOIN (
        SELECT host_id, sum(vcpus) AS vcpus,
               sum(memory_of(memory, vcpus, boot_mode, sealed_tpm_key IS NOT NULL)) AS memory
        FROM instances WHERE capacity_held GROUP BY host_id
    ) i ON i.host_id = h.id
"""
_POOLS: Final = f"""
    SELECT p.host_id, p.total, p.provisioned,
           coalesce((SELECT sum(size) FROM volumes WHERE host_id = p.host_id), 0) * {_GIB}
           + coalesce((SELECT sum(s.size) FROM instance_store_disks s JOIN instances i ON i.id = s.instance_id
                       WHERE i.host_id = p.host_id AND i.capacity_held), 0)
           + coalesce((SELECT sum(memory) FROM instances WHERE host_id = p.host_id AND memory_saved), 0)
    FROM storage_pools p WHERE p.is_default
"""
_OF_HOSTS: Final = "address IN (SELECT pool_address FROM hosts)"  # public addresses of hosts themselves
_LIVING: Final = "SELECT id FROM instances WHERE state NOT IN ('shutting-down', 'terminated')"
# What each query finds should not be there: rows of what is gone, jobs that nobody works at, and what is given twice.
_WRONG: Final = {
    "changes for ever": "SELECT id, state FROM instances WHERE state NOT IN ('running', 'stopped', 'terminated')",
    "is a workflow that waits": "SELECT id, kind, step, reason FROM workflows",
    "is an error of a host": "SELECT host_id, resource_id, error FROM host_errors",
    "is an interface of nobody": "SELECT id, instance_id FROM network_interfaces"
    f" WHERE instance_id IS NULL OR instance_id NOT IN ({_LIVING})",
    "is a volume of nobody": "SELECT id, state, instance_id FROM volumes"
    f" WHERE state != 'in-use' OR instance_id IS NULL OR instance_id NOT IN ({_LIVING})",
    "is an address of no interface": "SELECT address FROM interface_addresses"
    " WHERE interface_id NOT IN (SELECT id FROM network_interfaces)",
    "is a public address of nobody": "SELECT address FROM public_addresses"
    " WHERE interface_id IS NULL AND allocation_id IS NULL AND released IS NULL AND NOT " + _OF_HOSTS,
    "is a reservation without instances": "SELECT id FROM reservations"
    " WHERE id NOT IN (SELECT reservation_id FROM instances)",
    "is a tag of nothing": "SELECT resource_id, key FROM tags"
    " WHERE (resource_id LIKE 'i-%' AND resource_id NOT IN (SELECT id FROM instances))"
    " OR (resource_id LIKE 'vol-%' AND resource_id NOT IN (SELECT id FROM volumes))"
    " OR (resource_id LIKE 'eni-%' AND resource_id NOT IN (SELECT id FROM network_interfaces))",
    "is sent to a host, and of no instance there": "SELECT resource_id, host_id FROM host_resources r"
    f" WHERE kind = {pb.KIND_MACHINE} AND body IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM instances i WHERE i.id = r.resource_id AND i.host_id = r.host_id"
    " AND i.state NOT IN ('shutting-down', 'terminated'))",
    "has room, and does not run": "SELECT id, state FROM instances WHERE capacity_held AND state != 'running'",
    "runs without room": "SELECT id, host_id FROM instances WHERE NOT capacity_held AND state = 'running'",
    "has a device of another host, or has no room": "SELECT d.instance_id, d.host_id, d.address FROM host_devices d"
    " WHERE d.instance_id IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM instances i WHERE i.id = d.instance_id AND i.host_id = d.host_id AND i.capacity_held)",
    "is an address that several have": "SELECT vpc_id, private_address, count(*) FROM network_interfaces"
    " GROUP BY 1, 2 HAVING count(*) > 1",
    "is a public address that several have": "SELECT public_address, count(*) FROM instances"
    " WHERE public_address IS NOT NULL AND state != 'terminated' GROUP BY 1 HAVING count(*) > 1",
    "is another count of vCPUs than its instances take": "SELECT u.account_id, u.value FROM account_usage u"
    " WHERE u.name = 'vcpus' AND u.value != (SELECT coalesce(sum(vcpus), 0) FROM instances i"
    " WHERE i.account_id = u.account_id AND i.capacity_held)",
    "is a host of a spread group with several of it": "SELECT i.placement_group_id, i.host_id, count(*)"
    " FROM instances i JOIN placement_groups g ON g.id = i.placement_group_id"
    " WHERE g.strategy = 'spread' AND i.capacity_held GROUP BY 1, 2 HAVING count(*) > 1",
    "is a host with several partitions of a group": "SELECT i.placement_group_id, i.host_id"
    " FROM instances i JOIN placement_groups g ON g.id = i.placement_group_id"
    " WHERE g.strategy = 'partition' AND i.capacity_held GROUP BY 1, 2 HAVING count(DISTINCT i.partition_number) > 1",
}
# What of these is wrong at any moment, also while calls are under way.
_NEVER: Final = (
    "is an address that several have",
    "is a public address that several have",
    "is another count of vCPUs than its instances take",
    "is a host of a spread group with several of it",
    "is a host with several partitions of a group",
    "has a device of another host, or has no room",
)
# Tables that are empty when all instances were terminated and forgotten, and hosts have said so.
_GONE: Final = (
    *("instances", "reservations", "volumes", "network_interfaces", "interface_addresses", "workflows", "vpc_hosts"),
    *(
        "host_resources WHERE body IS NULL",
        "vpc_resources WHERE body IS NULL",
        f"public_addresses WHERE NOT {_OF_HOSTS}",
    ),
)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a controller's database to read it, while the controller may run."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        database.create_function("memory_of", 4, _memory_of, deterministic=True)
        database.execute("BEGIN")  # all that is read is of one moment
        yield database


@contextlib.contextmanager
def copy() -> Iterator[sqlite3.Connection]:
    """Make an empty database in memory, for what another one has."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.create_function("memory_of", 4, _memory_of, deterministic=True)
        yield database


def _memory_of(memory: int, vcpus: int, boot_mode: str, tpm: int) -> int:
    return memory_of(memory, vcpus, uefi=boot_modes.CURRENT[boot_mode] == boot_modes.UEFI, tpm=bool(tpm))


def in_database(database: sqlite3.Connection, volume_overcommit: float) -> list[str]:
    """Name what is wrong in the database of a cloud at rest, each in a line."""
    found = [f"{_named(row)} {what}" for what, query in _WRONG.items() for row in database.execute(query)]
    return found + _in_hosts(database, volume_overcommit)


def at_any_time(database: sqlite3.Connection, volume_overcommit: float) -> list[str]:
    """Name what is wrong even while calls are under way: given twice, or more than there is; each in a line."""
    found = [f"{_named(row)} {what}" for what in _NEVER for row in database.execute(_WRONG[what])]
    return found + _in_hosts(database, volume_overcommit)


def _in_hosts(database: sqlite3.Connection, volume_overcommit: float) -> list[str]:
    found = []
    for host, cpus, memory, cpus_reserved, memory_reserved, vcpus_held, memory_held in database.execute(_ROOM):
        if (cpus_reserved, memory_reserved) != (vcpus_held, memory_held):
            found.append(
                f"{host} counts {cpus_reserved} vCPUs and {memory_reserved} bytes,"
                f" its instances take {vcpus_held} and {memory_held}"
            )
        if vcpus_held > cpus or memory_held > memory:
            found.append(f"{host} has {cpus} vCPUs and {memory} bytes, its instances {vcpus_held} and {memory_held}")
    for host, total, provisioned, held in database.execute(_POOLS):
        if provisioned != held:
            found.append(f"{host} counts {provisioned} bytes of its pool, its disks take {held}")
        if held > total * volume_overcommit:
            found.append(f"{host} has a pool of {total} bytes, its disks take {held}")
    return found


def _named(row: tuple[object, ...]) -> str:
    return " ".join(str(value) for value in row)


def living(database: sqlite3.Connection) -> set[str]:
    """Return the ids of the instances that are there."""
    return {instance_id for (instance_id,) in database.execute(_LIVING)}


def on_hosts(database: sqlite3.Connection, worlds: Mapping[str, Objects]) -> list[str]:
    """Name what hosts, by their ids, have beside what the database says, or have of each other; each in a line."""
    return [line for host_id, objects in worlds.items() for line in _on_host(database, host_id, objects)]


def _on_host(database: sqlite3.Connection, host_id: str, objects: Objects) -> Iterator[str]:
    yield from (f"{host_id}: {violation}" for violation in objects.violations)
    for (machine_id, start), times in objects.starts.items():
        if times > 1:
            yield f"{host_id}: start {start} of {machine_id} happened {times} times"
    running = {name: guest for name, guest in objects.guests.items() if guest.power is not Power.OFF}
    yield from _beside(database, host_id, "guest", running, "SELECT id FROM instances WHERE state = 'running'")
    volumes = objects.volumes
    yield from _beside(database, host_id, "volume", volumes, "SELECT id FROM volumes WHERE host_id IS NOT NULL")
    interfaces = [each.id for vpc in objects.networks.values() for each in vpc.interfaces]
    yield from _beside(database, host_id, "interface", interfaces, "SELECT id FROM network_interfaces WHERE TRUE")
    has = {f"{address} of {holder}" for address, holder in objects.devices.items()}
    given = "SELECT address || ' of ' || instance_id FROM host_devices WHERE instance_id IS NOT NULL"
    yield from _beside(database, host_id, "device", has, given)
    [(cpus, memory)] = database.execute("SELECT cpus_offered, memory_offered FROM hosts WHERE id = ?", (host_id,))
    specs = [guest.spec for guest in running.values()]
    vcpus, taken = sum(spec.vcpus for spec in specs), sum(memory_of(spec.memory, spec.vcpus) for spec in specs)
    if vcpus > cpus or taken > memory:
        yield f"{host_id} has {cpus} vCPUs and {memory} bytes, its guests {vcpus} and {taken}"


def _beside(database: sqlite3.Connection, host_id: str, what: str, has: Collection[str], query: str) -> Iterator[str]:
    """Compare what a host has with the rows that a query, with a condition at its end, finds of that host."""
    should = {name for (name,) in database.execute(f"{query} AND host_id = ?", (host_id,))}
    yield from (f"{host_id} has the {what} {name}, which is not its own" for name in sorted(set(has) - should))
    yield from (f"{host_id} has not the {what} {name}" for name in sorted(should - set(has)))


def held_twice(worlds: Mapping[str, Objects]) -> Iterator[str]:
    """Name what several interfaces, guests or hosts have, by the hosts alone."""
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for host_id, objects in worlds.items():
        for vpc in objects.networks.values():
            for each in vpc.interfaces:
                holders[f"MAC {each.mac}"].append(each.id)
                for address in each.addresses:
                    holders[f"address {address} of {vpc.vpc_id}"].append(each.id)
                for public in each.public_addresses:
                    holders[f"public address {public.public}"].append(each.id)
        for name in objects.guests:
            holders[f"guest {name}"].append(host_id)
        for name in objects.volumes:
            holders[f"volume {name}"].append(host_id)
        for guest in objects.guests.values():
            for address in guest.spec.devices:
                if guest.power is not Power.OFF:
                    holders[f"device {address} of {host_id}"].append(guest.spec.id)
    return (f"the {what} is of {' and '.join(ids)}" for what, ids in holders.items() if len(ids) > 1)


def left(database: sqlite3.Connection, worlds: Mapping[str, Objects]) -> list[str]:
    """Name what is still there when all instances were terminated and forgotten, but for the bases of images."""
    found = [
        f"there are {count} rows of {table}"
        for table in _GONE
        for (count,) in database.execute(f"SELECT count(*) FROM {table}")
        if count
    ]
    for host_id, objects in worlds.items():
        kinds = ("networks", "firewalls", "dhcps", "volumes", "stores", "exports", "remotes", "guests", "devices")
        for kind in (*kinds, "credits", "homes", "bandwidths"):
            found += [f"{host_id} has {name} in its {kind}" for name in getattr(objects, kind)]
    return found
